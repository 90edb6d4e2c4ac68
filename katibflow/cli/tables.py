"""Tables as plain text, which programs can read too."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["age_text", "table_lines"]


def table_lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their columns one below the other; a column is as wide as its longest cell."""
    cells = [[_cell(text) for text in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _cell(text: str) -> str:
    """The text on one line; a dash for none, so that every row has all columns."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split()) or "-"


def age_text(seconds: float) -> str:
    """A length of time in its largest unit, as ``5m``."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"
