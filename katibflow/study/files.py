"""Writes files whole: a reader sees the old file or the new one, and never a part of it.

All records, histories and reports are written here; what they contain is decided elsewhere. A file
that only grows is appended to, and may end in a part of what was last appended.

A run's folder belongs to its user alone: folders have mode 0700 and files 0600, since templates and
logs may hold what is secret. Its files are read and written without following links, and only
regular files are read: a folder from somebody else may have a link or a pipe in a file's place.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

from katibflow.errors import InputError

__all__ = [
    "PRIVATE",
    "STUDY_FILE",
    "AppendedFile",
    "make_folder",
    "open_regular",
    "read_regular",
    "sync_folder",
    "write_atomically",
    "write_file",
]

PRIVATE = 0o600
"""The mode of a run's files."""

STUDY_FILE = "study.jsonl"
"""The name of a run's history in the run's folder."""


def open_regular(path: str | Path, flags: int = os.O_RDONLY, *, follow: bool = False) -> int:
    """Opens a regular file and returns its descriptor; a file that it makes is its user's alone.

    It never waits for the other end of a pipe.

    Args:
        path: The file.
        flags: How to open it, as for ``os.open``; to read by default.
        follow: Whether the file may be a symbolic link; False by default.

    Raises:
        OSError: The file cannot be opened, is a link, or is no regular file.
    """
    link = 0 if follow else os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | link | os.O_CLOEXEC | os.O_NONBLOCK, PRIVATE)
    except OSError as error:
        if error.errno == errno.ELOOP and link:
            raise OSError(errno.ELOOP, "is a symbolic link", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(None, "is no regular file", str(path))
    return descriptor


def read_regular(path: str | Path, *, follow: bool = False) -> bytes:
    """Returns the contents of a regular file.

    Args:
        path: The file.
        follow: Whether the file may be a symbolic link; False by default.

    Raises:
        OSError: The file cannot be read, is a link, or is no regular file.
    """
    with open(open_regular(path, follow=follow), "rb") as file:
        return file.read()


def write_atomically(
    path: Path,
    content: bytes | str,
    durable: bool = False,
    *,
    mode: int = PRIVATE,
    whole: bool = False,
) -> None:
    """Replaces a file as a whole; a failure leaves the old file and nothing else.

    Args:
        path: The file; its folder must exist.
        content: The new content; a text is written as UTF-8.
        durable: Whether the file and its name must be on disk when this returns; False by default.
        mode: The file's mode; by default only its user can read and write it.
        whole: Whether a machine that loses its power must leave the file whole or not at all, while
            its name need not be on disk yet; False by default, and implied by ``durable``.

    Raises:
        OSError: The file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name[:100]}.{os.getpid()}.{threading.get_native_id()}.tmp")
    try:
        with open(_created(draft, mode), "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            if durable or whole:
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def _created(path: Path, mode: int) -> int:
    """Creates a file in the place of one that a killed process left, and returns its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileExistsError:
        path.unlink(missing_ok=True)
        return os.open(path, flags, mode)


class AppendedFile:
    """Appends to a regular file that is there.

    Args:
        path: The file.
        size: The bytes that are kept of it; by default all.

    Raises:
        OSError: The file cannot be opened or written, as in the methods.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        self._descriptor = open_regular(path, os.O_WRONLY | os.O_APPEND)
        if size is not None and os.fstat(self._descriptor).st_size > size:
            os.ftruncate(self._descriptor, size)

    def append(self, text: str) -> None:
        """Appends a text as UTF-8; it is on disk once `sync` returns."""
        data = memoryview(text.encode())
        while data:
            data = data[os.write(self._descriptor, data) :]

    def sync(self) -> None:
        """Writes to disk what was appended."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


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
            write_atomically(target, text, mode=0o666)  # less the user's umask
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def make_folder(path: Path) -> None:
    """Makes a folder for its user alone, on disk when this returns.

    The folders above it that are not there are made for its user alone, too.

    Raises:
        OSError: A folder cannot be made.
    """
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
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
