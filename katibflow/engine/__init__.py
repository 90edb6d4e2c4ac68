"""Runs the trials of an experiment side by side, on any runner."""
