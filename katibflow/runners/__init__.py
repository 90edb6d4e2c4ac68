"""Runners: the places where trials run, behind the Protocol in `base`."""
