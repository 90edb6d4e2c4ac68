"""Asks a search algorithm for the next trials, from the trials so far."""
