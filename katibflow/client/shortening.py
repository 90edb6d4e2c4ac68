"""Texts that are too long for their place."""

from __future__ import annotations

__all__ = ["one_line", "shortened"]

_LINE = 500


def one_line(text: object) -> str:
    """A text as one line of 500 characters at most."""
    return shortened(" ".join(str(text).split()), _LINE)


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
