"""Keeps a bounded number of a trial's reports of one metric, however many there are."""

from __future__ import annotations

import math
from datetime import datetime

from katibflow.study.history import Point

__all__ = ["MOST_POINTS", "Series", "instant"]

MOST_POINTS = 1000
"""Evenly spaced reports that are kept; those of a series with more are thinned."""


class Series:
    """The reports of one metric, thinned as they come.

    All are kept up to `MOST_POINTS`. Of more there remain every second one, then every fourth, and
    so on, so that the series of two trials have steps in common. The first, the last, the newest,
    the lowest and the highest one are always kept, so that an observation is the same.
    """

    def __init__(self) -> None:
        self._count = 0
        self._stride = 1
        self._even: list[Point] = []
        self._last: Point | None = None
        self._newest: Point | None = None
        self._low: Point | None = None
        self._high: Point | None = None

    @property
    def count(self) -> int:
        """The number of reports so far, kept or not."""
        return self._count

    def append(self, point: Point) -> None:
        """Takes the next report."""
        if self._count % self._stride == 0:
            if len(self._even) == MOST_POINTS:
                self._stride *= 2
                del self._even[1::2]
            if self._count % self._stride == 0:
                self._even.append(point)
        self._count += 1
        self._last = point
        if self._newest is None or instant(point.time) >= instant(self._newest.time):
            self._newest = point
        if math.isfinite(point.value):
            if self._low is None or point.value < self._low.value:
                self._low = point
            if self._high is None or point.value > self._high.value:
                self._high = point

    def clear(self) -> None:
        """Forgets all reports."""
        self._count, self._stride, self._even = 0, 1, []
        self._last = self._newest = self._low = self._high = None

    @property
    def points(self) -> tuple[Point, ...]:
        """The reports that are kept, in order."""
        even = tuple(self._even)  # another thread may go on
        if self._stride == 1:
            return even
        kept = {point.step: point for point in even}
        for point in (self._last, self._newest, self._low, self._high):
            if point is not None:
                kept[point.step] = point
        return tuple(kept[step] for step in sorted(kept))


def instant(text: str | None) -> float:
    """Returns the seconds of a report's timestamp (RFC 3339); minus infinity if there is none."""
    if text is None:
        return -math.inf
    try:
        return datetime.fromisoformat(text.upper().replace("Z", "+00:00")).timestamp()
    except (OverflowError, ValueError):
        return -math.inf
