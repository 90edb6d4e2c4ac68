"""Reads and checks an Experiment, and says where it differs from Katib."""
