"""Shortens texts that are too long to show."""

from __future__ import annotations

__all__ = ["one_line", "shortened"]

_LINE = 500


def one_line(text: object) -> str:
    """Returns a text as one line of at most 500 characters."""
    return shortened(" ".join(str(text).split()), _LINE)


def shortened(text: str, length: int) -> str:
    """Returns the text, without its middle if it is too long: the end often says the most.

    Args:
        text: The text, as ``exit code 1; the last lines of its log: ... CUDA error``.
        length: The greatest number of characters to return, from 10.
    """
    if len(text) <= length:
        return text
    head = length // 3
    return f"{text[:head].rstrip()} ... {text[len(text) - (length - head - 5) :].lstrip()}"
