"""A run that this machine drives, from its first line to its last, and the run's folder."""
