"""Watches on logs, kept from trial to trial: the kernel takes 10 ms to end one."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from inotify_simple import INotify, flags  # type: ignore[import-untyped]

from katibflow.errors import RunnerError

__all__ = ["LogWatch", "LogWatches"]


_CHANGES = flags.CREATE | flags.MODIFY | flags.MOVED_TO
"""What can bring more of a file in a folder."""


class LogWatch:
    """Tells when something is written to a log, or changes in folders."""

    def __init__(self, inotify: INotify) -> None:
        self._inotify = inotify
        self._numbers: dict[str, int] = {}

    def cover(self, path: Path, mask: int = _CHANGES) -> None:
        """Watches a folder too, from now on.

        Raises:
            RunnerError: The system's limit of watches is reached.
        """
        if str(path) in self._numbers:
            return
        try:
            self._numbers[str(path)] = self._inotify.add_watch(str(path), mask)
        except OSError as error:
            raise RunnerError(
                f"{path}: cannot be watched: {error.strerror}; a larger "
                "fs.inotify.max_user_watches (sysctl) may help"
            ) from error

    def end(self) -> None:
        """Watches nothing any more."""
        for number in self._numbers.values():
            with suppress(OSError):  # what it watched is gone
                self._inotify.rm_watch(number)
        self._numbers.clear()

    def fileno(self) -> int:
        """What to poll for reading."""
        return int(self._inotify.fileno())

    def clear(self) -> None:
        """Takes what it has to tell off it."""
        self._inotify.read(timeout=0)


class LogWatches:
    """Gives watches out, to any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[INotify] = []
        self._finalizer = weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def watch(self, path: Path) -> Iterator[LogWatch]:
        """A watch on a log or a folder that exists.

        Raises:
            RunnerError: The system's limit of watches is reached.
        """
        inotify = self._take()
        try:
            watch = LogWatch(inotify)
            watch.cover(path, _CHANGES if path.is_dir() else flags.MODIFY)
            try:
                yield watch
            finally:
                watch.end()
        finally:
            inotify.read(timeout=0)
            with self._lock:
                self._idle.append(inotify)

    def close(self) -> None:
        """Ends the watches that are not in use."""
        with self._lock:
            _close_all(self._idle)

    def _take(self) -> INotify:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            return INotify(nonblocking=True)
        except OSError as error:
            raise RunnerError(
                f"no log can be watched: {error.strerror}; a larger "
                "fs.inotify.max_user_instances (sysctl) allows more trials at once"
            ) from error


def _close_all(idle: list[INotify]) -> None:
    while idle:
        idle.pop().close()
