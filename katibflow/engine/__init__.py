"""Runs the trials of an experiment side by side; knows what a runner is, and no particular one."""
