"""Formats tables and times as plain text, which programs can read too."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["COLUMN_GAP", "age_text", "table_lines"]

COLUMN_GAP = "  "
"""Parts two columns of a table."""


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the rows as lines with aligned columns, each as wide as its longest cell."""
    cells = [[_cell(text) for text in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [COLUMN_GAP.join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _cell(text: str) -> str:
    """Returns the text on one line, or a dash for none, so that every row has all columns."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "-"


def age_text(seconds: float) -> str:
    """Returns a time in seconds as a text with its largest unit, as ``5m``."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"
