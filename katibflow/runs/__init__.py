"""A run on this machine, from its first line to its last."""
