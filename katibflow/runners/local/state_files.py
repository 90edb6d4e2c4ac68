"""Files that outlive the program: written whole, and read by the version that they carry."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from katibflow.errors import RunnerError

__all__ = [
    "VERSION_KEY",
    "check_version",
    "make_folder",
    "read_number",
    "read_state",
    "sync_folder",
    "to_json",
    "unwritable",
    "write_atomically",
]

VERSION_KEY = "version"
"""Where a file has its version; files of releases that wrote none are of version 1."""


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """Turns an OSError at work on ``path`` into a RunnerError that names it."""
    try:
        yield
    except OSError as error:
        raise RunnerError(f"{error.filename or path}: {error.strerror or error}") from error


def check_version(data: Mapping[str, Any], path: Path, newest: int) -> int:
    """Returns the version of a file.

    Args:
        data: What is in the file.
        path: The file, for the error.
        newest: The latest version that this release reads; it reads all before it.

    Raises:
        RunnerError: The file is of a version that this release does not read.
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
    """Returns what is in a JSON file with its version; empty when a kill left it torn, or none.

    Raises:
        RunnerError: The file is of a version above ``newest``.
    """
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    return {**data, VERSION_KEY: check_version(data, path, newest)}


def read_number(path: str) -> int | None:
    """Returns the number in a file; None when there is none, or its newline is not there yet."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    return int(text) if text.endswith("\n") and text.strip().isdigit() else None


def to_json(data: Mapping[str, Any], version: int) -> bytes:
    """Returns the JSON text of a file with its version."""
    whole = {VERSION_KEY: version, **data}
    return (json.dumps(whole, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def write_atomically(path: Path, content: bytes, durable: bool = False) -> None:
    """Replaces a file as a whole.

    Args:
        path: The file.
        content: What it holds from now on.
        durable: Whether it must be on disk, name included, when this returns.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, each on disk when this returns."""
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder are on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
