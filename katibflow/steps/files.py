"""Reads and writes the study between steps, and ends a step that fails with a message.

Between the steps the study is a folder with ``study.jsonl``, the history, and, if the pipeline has
the packed library, ``library.zip``, which each step imports from and hands on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from katibflow.errors import KatibflowError
from katibflow.study.files import STUDY_FILE
from katibflow.study.history import History, dump_history, load_history

__all__ = [
    "HISTORY",
    "LIBRARY",
    "SAYS",
    "Artifact",
    "exits_with_message",
    "read_study",
    "write_study",
]

HISTORY = STUDY_FILE
LIBRARY = "library.zip"

SAYS = "katibflow: "
"""What the message of a step that fails begins with."""

P = ParamSpec("P")
R = TypeVar("R")


class Artifact(Protocol):
    """An output of a step, as KFP gives it.

    Attributes:
        path: Path of the file or folder to write.
        metadata: The artifact's metadata; the UI shows its ``display_name``.
    """

    path: str
    metadata: dict[str, Any]


def read_study(folder: str) -> History:
    """Returns the study history in a step's input."""
    return load_history((Path(folder) / HISTORY).read_text(encoding="utf-8"), "study")


def write_study(folder: str, history: History, before: str | None = None) -> None:
    """Writes the study history to a step's output.

    Args:
        folder: The output's folder, which is created if needed.
        history: The study.
        before: The input's folder, whose library is copied to the output; None for no copy.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    (target / HISTORY).write_text(dump_history(history), encoding="utf-8")
    library = Path(before, LIBRARY) if before is not None and before != folder else None
    if library is not None and library.is_file():
        shutil.copyfile(library, target / LIBRARY)


def exits_with_message(step: Callable[P, R]) -> Callable[P, R]:
    """Makes a step exit with the message of a `KatibflowError` instead of a traceback."""

    @wraps(step)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return step(*args, **kwargs)
        except KatibflowError as error:
            raise SystemExit(f"{SAYS}{error}") from error

    return guarded
