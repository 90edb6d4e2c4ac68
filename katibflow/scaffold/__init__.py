"""Writes a first Experiment for a script, from the options that the script's source defines."""
