"""The rows that benchmarks measure, and the table that shows them."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Row", "lines", "main"]


@dataclass(frozen=True)
class Row:
    """One measured value.

    Attributes:
        name: What was measured, in a few words.
        measured: How: the sizes, and what the value is compared with.
        value: The value; smaller is better.
        unit: Its unit: "x" for a ratio, "ms", "s", "KB".
        target: The value that it should not exceed; None if there is none.
    """

    name: str
    measured: str
    value: float
    unit: str
    target: float | None = None

    @property
    def is_met(self) -> bool:
        """Whether the value is at most the target; True without one."""
        return self.target is None or self.value <= self.target

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The row's texts, one for each heading."""
        verdict = "" if self.target is None else "met" if self.is_met else "NOT MET"
        target = "" if self.target is None else _text(self.target, self.unit)
        return self.name, self.measured, _text(self.value, self.unit), target, verdict


_HEADINGS = ("NAME", "MEASURED", "VALUE", "TARGET", "")
_WIDTHS = (34, 62, 10, 10, 7)
_NUMBERS = (2, 3)


def lines(rows: Iterator[Row]) -> Iterator[str]:
    """Yields the table's lines, each as soon as its row is measured."""
    yield _line(_HEADINGS)
    for row in rows:
        yield _line(row.cells)


def main(about: str | None, rows: Callable[..., Iterator[Row]]) -> None:
    """Prints the rows of one benchmark; each of their numbers is an option.

    Args:
        about: The benchmark's docstring.
        rows: Measures the rows; its parameters have defaults.
    """
    parser = argparse.ArgumentParser(description=about)
    for name, parameter in inspect.signature(rows).parameters.items():
        default = parameter.default
        parser.add_argument(f"--{name}", type=type(default), default=default)
    for line in lines(rows(**vars(parser.parse_args()))):
        print(line, flush=True)


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(
        cell.rjust(width) if index in _NUMBERS else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    ).rstrip()


def _text(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}".rstrip()
