"""A run as users have it, wherever it is: found by a path or a name, shown, followed, stopped."""
