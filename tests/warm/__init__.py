"""Processes of the command line that begin with the package already imported."""
