"""Threads that are used again: a trial needs one, and to make one costs as much as all the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Workers"]

_Work = Callable[[], None]


class Workers:
    """Does each piece of work at once, in a thread of its own that has none to do.

    Only the thread that made it calls its methods.
    """

    def __init__(self) -> None:
        self._idle: SimpleQueue[SimpleQueue[_Work | None]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._inboxes: list[SimpleQueue[_Work | None]] = []

    def do(self, name: str, work: _Work) -> None:
        """Does a piece of work in a thread that has its name meanwhile; the work must not raise.

        Raises:
            RuntimeError: The machine has no room for a thread.
        """

        def named() -> None:
            threading.current_thread().name = name
            work()

        if not self._idle.empty():
            self._idle.get_nowait().put(named)
            return
        inbox: SimpleQueue[_Work | None] = SimpleQueue()
        inbox.put(named)
        thread = threading.Thread(target=self._serve, args=(inbox,), name=name)
        thread.start()
        self._threads.append(thread)
        self._inboxes.append(inbox)

    def close(self) -> None:
        """Waits until all work is done, and ends the threads."""
        for inbox in self._inboxes:
            inbox.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, inbox: SimpleQueue[_Work | None]) -> None:
        while (work := inbox.get()) is not None:
            work()
            self._idle.put(inbox)
