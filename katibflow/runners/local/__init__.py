"""Runs trials as processes on this machine."""
