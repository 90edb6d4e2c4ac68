"""Suggests the next trials from the trials so far."""
