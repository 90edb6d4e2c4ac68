"""The model of an Experiment's file: its types, how they are read, and the rules of each field."""
