"""A request to stop, made once and from any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["StopRequest"]


class StopRequest:
    """A one-time request to stop a job, made from any thread, seen by the runner at once."""

    def __init__(self) -> None:
        # Reentrant, because a signal handler may make the request in the middle of a reading.
        self._lock = threading.RLock()
        self._reason: str | None = None
        self._callbacks: list[Callable[[], None]] = []

    def set(self, reason: str) -> None:
        """Makes the request; the first reason stays."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    @property
    def reason(self) -> str | None:
        """Why to stop; None while nobody asked."""
        with self._lock:
            return self._reason

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls ``callback`` once the request is made (now, if it was); returns the way out."""
        with self._lock:
            already = self._reason is not None
            if not already:
                self._callbacks.append(callback)
        if already:
            callback()

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return unsubscribe
