"""Locks of files: one keeps a run's folder to one process, others show whether a process lives.

The kernel releases a lock (flock) when the last process that has inherited the locked descriptor
is gone, whatever ended it. So a locked file shows, on every system and without a race, whether any
process that was started with it is left.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from katibflow.errors import RunBusy
from katibflow.runners.local.state_files import unwritable
from katibflow.study.files import make_folder, open_regular

__all__ = ["Holder", "LockWait", "RunLock", "held", "holder_of", "is_held"]

_DYING_LIMIT = 1.0
"""Seconds to wait for a lock: a process that was just killed holds it until it is gone."""

_PAUSE = 0.01
"""Seconds between two tries for the lock of a dying process."""


_STOPPING = "stopping"
"""Second line of a run's lock file, once the process was asked to stop its run."""


@dataclass(frozen=True)
class Holder:
    """The process that has a run's lock, as the lock's file says.

    Attributes:
        pid: The process's id on its machine; None if the file does not say.
        is_stopping: Whether the process was asked to stop its run.
    """

    pid: int | None
    is_stopping: bool


class RunLock:
    """Keeps a run's folder to one process, as a context manager.

    Args:
        folder: The run's folder; it is created if absent.

    Raises:
        RunBusy: On entering: another process has the lock; the error names its pid.
        RunnerError: On entering: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._descriptor: int | None = None

    @property
    def path(self) -> Path:
        """The file whose lock a process holds while it has the folder."""
        return self._path

    def __enter__(self) -> RunLock:
        with unwritable(self._path):
            make_folder(self._path.parent)
            descriptor = open_regular(self._path, os.O_RDWR | os.O_CREAT)
            try:
                self._acquire(descriptor)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor = descriptor
        return self

    def _acquire(self, descriptor: int) -> None:
        deadline = time.monotonic() + _DYING_LIMIT
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = _read_holder(descriptor).pid
                is_ours = os.fstat(descriptor).st_uid == os.geteuid()
            if time.monotonic() >= deadline or holder == os.getpid():
                if not is_ours:
                    raise RunBusy(
                        f"{self._path.parent}: in use by another user's process; wait for its end"
                    ) from None
                # What the file says may be of another machine, or of a process long gone.
                if holder is not None and not _has_open(holder, descriptor):
                    holder = None
                raise RunBusy(
                    f"{self._path.parent}: in use by process {holder or 'unknown'}; wait for its "
                    f"end, or stop it: katibflow stop {self._path.parent}"
                ) from None
            time.sleep(_PAUSE)

    def note_stopping(self) -> None:
        """Writes to the file that this process was asked to stop its run, while it has the lock.

        A second signal would end the process at once, so nobody must send one.
        """
        if self._descriptor is not None:
            with suppress(OSError):  # a full disk must not keep the run from stopping
                os.pwrite(self._descriptor, f"{os.getpid()}\n{_STOPPING}\n".encode(), 0)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def held(path: str | Path) -> Iterator[int]:
    """Opens a file for reading and appending, and yields a descriptor that holds its lock.

    A process that inherits the descriptor holds the lock after the end of the block.

    Args:
        path: The file; it is created if absent.

    Raises:
        OSError: The file cannot be written.
    """
    descriptor = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        # Another process that tests the lock has it for a moment.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def holder_of(folder: Path) -> Holder | None:
    """Returns the process that has the lock of a run's folder, or None if nobody has it."""
    path = RunLock(folder).path
    if not is_held(path):
        return None
    try:
        descriptor = open_regular(path)
    except OSError:
        return None
    try:
        return _read_holder(descriptor)
    finally:
        os.close(descriptor)


def _read_holder(descriptor: int) -> Holder:
    pid, *more = os.pread(descriptor, 64, 0).decode("ascii", "replace").split() or [""]
    number = int(pid) if pid.isdecimal() and len(pid) < 20 else None
    return Holder(number, _STOPPING in more)


def _has_open(pid: int, descriptor: int) -> bool:
    """Returns whether a process has a file open, as far as this one may know."""
    own = os.fstat(descriptor)
    try:
        files = psutil.Process(pid).open_files()
    except (psutil.Error, OverflowError, ValueError):
        return False
    for file in files:
        with suppress(OSError):
            if os.path.samestat(own, os.stat(file.path)):
                return True
    return False


def is_held(path: str | Path) -> bool:
    """Returns whether a process holds the file's lock; False if there is no file."""
    try:
        descriptor = open_regular(path)
    except OSError:
        return False
    try:
        # Shared, so that two processes that test the lock do not take each other for its holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class LockWait:
    """Waits for the moment in which nobody holds a file's lock any more.

    Args:
        path: The file. It may be deleted later on.

    Raises:
        OSError: There is no such file, or it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self._descriptor = open_regular(path)

    def __call__(self) -> None:
        """Blocks until nobody holds the lock; it may be called only once."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
        finally:
            os.close(self._descriptor)
