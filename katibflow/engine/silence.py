"""Notices running trials that print nothing for long: most of them hang, or show no progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from katibflow.experiment.timeouts import TRIAL_TIMEOUT, Limits

__all__ = ["SILENCE", "Silences"]

SILENCE = 600.0
"""Seconds without output after which a trial's silence is told."""


@dataclass
class _Silence:
    """How long a trial prints nothing.

    Attributes:
        since: Time of its last line, or of its start.
        next: The seconds after which the silence is told next.
    """

    since: float
    next: float


class Silences:
    """The silences of the trials that run; threads may call `heard` at the same time.

    Args:
        first: Seconds without output after which a silence is told; each next time, after twice
            as long.
        limits: Time limits of the trials, for the words.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, first: float, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first = first
        self._limit = limits.trial
        self._clock = clock
        self._lock = threading.Lock()
        self._trials: dict[int, _Silence] = {}

    def heard(self, number: int) -> bool:
        """Notes a trial's start or line; returns whether its silence had been told."""
        with self._lock:
            known = self._trials.get(number)
            self._trials[number] = _Silence(self._clock(), self._first)
            return known is not None and known.next > self._first

    def forget(self, number: int) -> None:
        """Forgets a trial, which has ended."""
        with self._lock:
            self._trials.pop(number, None)

    def until_next(self) -> float | None:
        """Returns the seconds until a silence is to be told, or None if no trial runs."""
        with self._lock:
            ends = [each.since + each.next for each in self._trials.values()]
        return max(0.0, min(ends) - self._clock()) if ends else None

    def due(self) -> list[tuple[int, str]]:
        """Returns number and words of each trial whose silence is to be told now."""
        now = self._clock()
        told = []
        with self._lock:
            for number, each in sorted(self._trials.items()):
                if now - each.since >= each.next:
                    each.next *= 2
                    told.append((number, self._words(now - each.since)))
        return told

    def _words(self, seconds: float) -> str:
        length = f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
        if self._limit is not None:
            return f"no output for {length}; it is ended after {self._limit:g} s in all"
        return (
            f"no output for {length}, and nothing bounds it: --trial-timeout SECONDS, or the "
            f"annotation {TRIAL_TIMEOUT}, ends such a trial"
        )
