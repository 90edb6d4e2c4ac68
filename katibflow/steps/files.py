"""How steps read and write the study history, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from katibflow.errors import KatibflowError
from katibflow.history import History, dump_history, load_history

__all__ = ["read_study", "says_what_is_wrong", "write_study"]

P = ParamSpec("P")
R = TypeVar("R")


def read_study(path: str) -> History:
    """The study history in a step's input file."""
    return load_history(Path(path).read_text(encoding="utf-8"), "study")


def write_study(path: str, history: History) -> None:
    """Writes the study history to a step's output file."""
    Path(path).write_text(dump_history(history), encoding="utf-8")


def says_what_is_wrong(step: Callable[P, R]) -> Callable[P, R]:
    """Makes a step that fails on purpose end with its message instead of a traceback."""

    @wraps(step)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return step(*args, **kwargs)
        except KatibflowError as error:
            raise SystemExit(f"katibflow: {error}") from error

    return guarded
