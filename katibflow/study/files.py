"""Writes files whole: a reader sees the old file or the new one, and never a part of it.

All records, histories and reports are written here; what they contain is decided elsewhere.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from katibflow.errors import InputError

__all__ = ["make_folder", "sync_folder", "write_atomically", "write_file"]


def write_atomically(path: Path, content: bytes | str, durable: bool = False) -> None:
    """Replaces a file as a whole; a failure leaves the old file and nothing else.

    Args:
        path: The file; its folder must exist.
        content: The new content; a text is written as UTF-8.
        durable: Whether the file and its name must be on disk when this returns; False by default.

    Raises:
        OSError: The file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name[:100]}.{os.getpid()}.{threading.get_native_id()}.tmp")
    try:
        with draft.open("wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def write_file(path: Path, text: str) -> None:
    """Writes a file that the user named, whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    target = path.resolve()
    try:
        if target.exists() and not target.is_file():  # as /dev/stdout
            target.write_text(text, encoding="utf-8")
        else:
            write_atomically(target, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def make_folder(path: Path) -> None:
    """Makes a folder and the folders above it, all of them on disk when this returns.

    Raises:
        OSError: A folder cannot be made.
    """
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Writes the names of the files in a folder to disk.

    Raises:
        OSError: The folder cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
