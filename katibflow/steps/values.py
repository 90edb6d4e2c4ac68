"""The text of a run parameter that stands for no value."""

from __future__ import annotations

__all__ = ["NONE", "is_nothing"]

NONE = "none"
"""Stands for a value that is missing; an empty text does too."""


def is_nothing(text: str) -> bool:
    """Returns whether a parameter's text says that there is no value."""
    return text.strip().lower() in ("", NONE)
