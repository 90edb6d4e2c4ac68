"""The record of an experiment: its trials and objectives, decisions on them, and resuming."""
