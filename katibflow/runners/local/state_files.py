"""Reads and writes the versioned files of a run's folder, which outlive the program."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from katibflow.errors import RunnerError
from katibflow.study.files import read_regular

__all__ = [
    "VERSION_KEY",
    "check_version",
    "read_number",
    "read_state",
    "to_json",
    "unwritable",
]

VERSION_KEY = "version"
"""Key of a file's version; files without one, of early releases, have version 1."""


_LONGEST_NUMBER = 20


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """Turns an OSError at work on ``path`` into a RunnerError that names the path."""
    try:
        yield
    except OSError as error:
        raise RunnerError(f"{error.filename or path}: {error.strerror or error}") from error


def check_version(data: Mapping[str, Any], path: Path, newest: int) -> int:
    """Returns the version of a file.

    Args:
        data: The contents of the file.
        path: The file, for the error.
        newest: The latest version that this release reads; it reads all earlier ones too.

    Raises:
        RunnerError: The file has a version that this release does not read.
    """
    version = data.get(VERSION_KEY, 1)
    is_number = isinstance(version, int) and not isinstance(version, bool)
    if is_number and 1 <= version <= newest:
        return int(version)
    allowed = "1" if newest == 1 else f"1 to {newest}"
    raise RunnerError(
        f"{path}: found version {version!r}; this release of katibflow reads {allowed}; a newer "
        "release may have written it"
    )


def read_state(path: Path, newest: int) -> Mapping[str, Any]:
    """Returns the contents of a JSON file and its version; empty if it is torn or absent.

    Raises:
        RunnerError: The file has a version above ``newest``.
    """
    try:
        data = json.loads(read_regular(path))
    except (OSError, RecursionError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {**data, VERSION_KEY: check_version(data, path, newest)}


def read_number(path: str) -> int | None:
    """Returns the number in a file, or None if it is absent or its newline is not there yet."""
    try:
        text = read_regular(path).decode("ascii", "replace")
    except OSError:
        return None
    is_number = text.endswith("\n") and text.strip().isdigit() and len(text) <= _LONGEST_NUMBER
    return int(text) if is_number else None


def to_json(data: Mapping[str, Any], version: int) -> bytes:
    """Returns the JSON text of a file with its version."""
    whole = {VERSION_KEY: version, **data}
    # Without indentation, which only the slow encoder of Python makes.
    return (json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n").encode()
