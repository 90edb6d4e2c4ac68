"""The model of an Experiment's file: its types, its reading, and rules for single fields."""
