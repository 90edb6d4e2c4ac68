"""Stands in for pip: installs nothing."""
