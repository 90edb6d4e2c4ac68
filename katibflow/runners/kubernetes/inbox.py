"""The queue of one trial's events: any thread adds them, and the thread that follows takes them."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Any

from katibflow.runners.events import Event, LogLine, MetricLine, SourceNote

__all__ = ["FOREVER", "Inbox"]

LINES_AHEAD = 1000
"""Log lines that may wait in the queue; with more, the log is not read further."""

FOREVER = float("inf")


class Inbox:
    """Queues events for one trial, from any thread; log lines wait while too many are queued."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: deque[Any] = deque()
        self._lines = 0
        self._closed = False

    def put(self, event: object) -> None:
        """Adds an event; never waits."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def put_line(self, line: Event) -> None:
        """Adds a line, when there is room."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines < LINES_AHEAD or self._closed)
            self._lines += 1
            self._events.append(line)
            self._changed.notify_all()

    def get(self, until: float) -> Any | None:
        """Returns the next event, or None if none comes until that time (monotonic)."""
        with self._changed:
            wait = None if until == FOREVER else max(0.0, until - monotonic())
            if not self._changed.wait_for(lambda: self._events, wait):
                return None
            event = self._events.popleft()
            if isinstance(event, LogLine | MetricLine | SourceNote):
                self._lines -= 1
                self._changed.notify_all()
            return event

    def close(self) -> None:
        """Lets lines pass without waiting, as nobody takes them any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
