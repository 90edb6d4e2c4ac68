"""Lets trials that wait in a queue leave it before the running ones of the same runner stop."""

from __future__ import annotations

import threading

__all__ = ["Waiting"]


class Waiting:
    """Keeps the trials that wait in a queue now, from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._names: set[str] = set()

    def note(self, name: str, waits: bool) -> None:
        """Takes whether a trial's job waits in a queue."""
        with self._changed:
            (self._names.add if waits else self._names.discard)(name)
            self._changed.notify_all()

    def await_none(self, seconds: float) -> None:
        """Returns once no trial waits any more, or after the time.

        A running trial that ends gives its place to one that waits, so those leave first when all
        are stopped.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._names, seconds)
