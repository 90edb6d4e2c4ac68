"""Watches on logs, kept from trial to trial: the kernel takes 10 ms to end one."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inotify_simple import INotify, flags  # type: ignore[import-untyped]

from katibflow.errors import RunnerError

__all__ = ["LogWatch", "LogWatches"]


class LogWatch:
    """Tells when something is written to one log."""

    def __init__(self, inotify: INotify) -> None:
        self._inotify = inotify

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
    def watch(self, log: Path) -> Iterator[LogWatch]:
        """A watch on a log that exists.

        Raises:
            RunnerError: The system's limit of watches is reached.
        """
        inotify = self._take()
        try:
            try:
                number = inotify.add_watch(str(log), flags.MODIFY)
            except OSError as error:
                raise RunnerError(
                    f"{log}: cannot be watched: {error.strerror}; a larger "
                    "fs.inotify.max_user_watches (sysctl) may help"
                ) from error
            try:
                yield LogWatch(inotify)
            finally:
                inotify.rm_watch(number)
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
