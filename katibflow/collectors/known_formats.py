"""Finds the filter that reads the metrics in lines as well-known tools print them.

Lines that hold a metric's name and report nothing are tried with each format of a list, for the
message of a trial whose metric did not come.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["FORMATS", "Format", "filter_of", "suggested"]

NUMBER = r"([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
"""A number as in Katib's default filter, as group 2 of a filter."""


@dataclass(frozen=True)
class Format:
    """A form in which tools print a metric.

    Attributes:
        name: The format, in words.
        before: The pattern in front of the metric's name.
        between: The pattern between the name and the number.
    """

    name: str
    before: str
    between: str


_START = r"(?:^|[^\w/:@.|%-])"

FORMATS: tuple[Format, ...] = (
    Format("name=number, with signs in the name", _START, r"\s*=\s*"),
    Format(
        "JSON, or a dict as Python prints it (Hugging Face Trainer)",
        r"[^\w\s]",
        r"[^\w\s]\s*:\s*[^\w\s.+-]?",
    ),
    Format("name: number (Keras, XGBoost, LightGBM, CatBoost)", _START, r"\s*:\s*"),
    Format("a tensor of PyTorch", _START, r"\s*[:=]?\s*tensor\(\[?"),
    Format("a table with borders (Lightning, Rich)", r"[|│┃]\s*", r"\s*[|│┃]\s*"),
    Format("name number, in columns (Lightning, torchvision)", _START, r"\s+"),
    Format("name is number, name -> number", _START, r"\s*(?:is|was|[-=]*>|:=|[(\[])\s*"),
    Format("name: [number]", _START, r"\s*[:=]\s*[(\[]\s*"),
    Format("name: number, behind a logger's name", r"(?:^|:)", r"\s*:\s*"),
)
"""The formats in the order in which they are tried: the strictest ones first."""


def _named(names: Iterable[str]) -> str:
    """Returns a pattern, of RE2's and Python's syntax, for any of the names."""
    return "|".join(re.sub(r"([^\w\s/:@%-])", r"\\\1", name) for name in sorted(names, key=len))


def filter_of(form: Format, names: Iterable[str]) -> str:
    """Returns the filter, as a user gives one, that reads metrics in a format."""
    return f"{form.before}({_named(names)}){form.between}{NUMBER}"


def suggested(names: Sequence[str], lines: Sequence[str]) -> tuple[Format, str] | None:
    """Returns the first format that reads the first metric in one of the lines, and its filter.

    The filter is one for all of the metrics, as it takes the place of the default one.

    Args:
        names: The metrics' names, the objective's first.
        lines: Lines that hold the objective's name.
    """
    for form in FORMATS:
        text = filter_of(form, names)
        # Python's own expressions read these patterns as RE2 does, and are always installed.
        pattern = re.compile(text, re.ASCII)
        for line in lines:
            if any(
                match[1] == names[0] and _is_number(match[2]) for match in pattern.finditer(line)
            ):
                return form, text
    return None


def _is_number(text: str) -> bool:
    return any(map(str.isdigit, text))
