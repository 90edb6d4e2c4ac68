"""A request to stop, made once and from any thread, with its reason."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["StopKind", "StopReason", "StopRequest"]


class StopKind(StrEnum):
    """The origin of a request to stop.

    REQUESTED: the caller that runs the trials, as when the experiment is over. SIGNAL: a signal to
    this process. EARLY_STOPPING: the experiment's early stopping rule.
    """

    REQUESTED = "REQUESTED"
    SIGNAL = "SIGNAL"
    EARLY_STOPPING = "EARLY_STOPPING"


@dataclass(frozen=True)
class StopReason:
    """The reason of a request to stop.

    Attributes:
        text: A sentence for a person; no code depends on it.
        kind: The origin of the request.
        signal: The signal's number; None if no signal made the request.
    """

    text: str
    kind: StopKind = StopKind.REQUESTED
    signal: int | None = None


class StopRequest:
    """A one-time request to stop a job, made from any thread, seen by the runner at once."""

    def __init__(self) -> None:
        # Reentrant, because a signal handler may make the request in the middle of a reading.
        self._lock = threading.RLock()
        self._reason: StopReason | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._leaves: list[Callable[[], str]] = []

    def set(
        self, text: str, kind: StopKind = StopKind.REQUESTED, signal: int | None = None
    ) -> None:
        """Makes the request; the first reason stays.

        Args:
            text: The reason, for a person.
            kind: The origin of the request.
            signal: The signal's number, if one makes it.
        """
        self._make(StopReason(text, kind, signal))

    def _make(self, reason: StopReason) -> None:
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    @property
    def reason(self) -> StopReason | None:
        """Returns the reason, or None if no stop was requested."""
        with self._lock:
            return self._reason

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls ``callback`` once the request is made (now, if it was); returns an undo."""
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

    def leaves(self, describe: Callable[[], str]) -> Callable[[], None]:
        """Says what would be left if nobody waited for the stop any longer; returns an undo.

        Args:
            describe: Returns one or more lines for a person; any thread may call it.
        """
        with self._lock:
            self._leaves.append(describe)

        def forget() -> None:
            with self._lock:
                if describe in self._leaves:
                    self._leaves.remove(describe)

        return forget

    @property
    def left(self) -> str:
        """Returns what is left if the process leaves now, in lines; empty if nothing is known."""
        with self._lock:
            described = list(self._leaves)
        return "\n".join(filter(None, (describe() for describe in described)))

    def pass_on(self, other: StopRequest) -> Callable[[], None]:
        """Makes the other request, for the same reason, once this one is made.

        Returns:
            A function that ends this.
        """

        def make() -> None:
            reason = self.reason
            if reason is not None:
                other._make(reason)

        return self.subscribe(make)
