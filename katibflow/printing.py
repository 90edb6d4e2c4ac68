"""Prints texts that others wrote: names, values and logs can do nothing to a terminal.

A terminal obeys escape sequences: they change the clipboard, the title and what stands on the
screen. A line break inside a value looks like a line of this program. So whatever is printed to
people goes through here.
"""

from __future__ import annotations

import sys
from typing import TextIO

__all__ = ["counted", "say", "visible", "warn"]

_KEPT = frozenset("\t\n")


def visible(text: str, *, lines: bool = True) -> str:
    """Returns a text in which what cannot be printed stands as Python writes it in a string.

    Args:
        text: The text.
        lines: Whether line breaks and tabs stay as they are; True by default.
    """
    if text.isprintable():
        return text
    return "".join(
        sign
        if sign.isprintable() or (lines and sign in _KEPT)
        else sign.encode("unicode_escape").decode()
        for sign in text
    )


def say(*texts: str, file: TextIO | None = None) -> None:
    """Prints texts, each on a line of its own; nothing if there is none.

    Args:
        texts: The texts; their line breaks are printed, and what is not printable is escaped.
        file: The stream; standard output by default.
    """
    for text in texts:
        print(visible(text), file=file or sys.stdout, flush=True)


def warn(text: str) -> None:
    """Prints a warning on standard error, as `say` prints texts."""
    say(text, file=sys.stderr)


def counted(count: int, noun: str) -> str:
    """Returns a number of things in words: 1 trial, 2 trials.

    Args:
        count: How many there are.
        noun: The word for one, whose plural ends in s.
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
