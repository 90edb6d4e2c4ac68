"""Texts that are too long for their place."""

from __future__ import annotations

__all__ = ["shortened"]


def shortened(text: str, length: int) -> str:
    """The text with its middle left out where it is longer; its end often says the most.

    Args:
        text: As ``exit code 1; the last lines of its log: ... CUDA error``.
        length: Characters at most, 10 at least.
    """
    if len(text) <= length:
        return text
    head = length // 3
    return f"{text[:head].rstrip()} ... {text[len(text) - (length - head - 5) :].lstrip()}"
