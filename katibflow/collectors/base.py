"""What all metrics collectors share: the series, and the account of what was searched."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from katibflow.study.history import Point

__all__ = ["RFC3339", "Collector", "Reports", "time_of"]

RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")

Reports = tuple[tuple[str, Point], ...]
"""What a line reports: each metric's name and the point."""

_NEAR_MISSES_KEPT = 3
_NEAR_MISS_LENGTH = 200
_NOTES_KEPT = 5


class Collector:
    """Takes what a trial says line by line and keeps each metric's reports in order.

    Args:
        metrics: The names to look for, the objective's first; others are passed over.

    Attributes:
        reads_output: Whether its lines are the primary container's output; else they are those
            that the runner reads from the `sources.Source` of the collector's kind.
    """

    reads_output = True

    def __init__(self, metrics: Sequence[str]) -> None:
        self._series: dict[str, list[Point]] = {name: [] for name in metrics}
        self._near_misses = {name: _NearMisses(name) for name in metrics}
        self._lines = 0
        self._notes: dict[str, None] = {}
        self._elsewhere = ""
        self._elsewhere_pattern = re.compile(re.escape(metrics[0]) + r"\s*=\s*[-+]?\.?\d")

    def feed(self, line: str) -> Reports:
        """Reads one line; returns what it reports."""
        self._lines += 1
        named = [name for name in self._series if name in line]
        reports = self._read(line, named)
        reported = {name for name, _ in reports}
        for name in named:
            if name not in reported:
                self._near_misses[name].add(line)
        return tuple(reports)

    def _read(self, line: str, named: Sequence[str]) -> Sequence[tuple[str, Point]]:
        """What a line reports; ``named`` are the metrics whose names are in it somewhere."""
        raise NotImplementedError

    def overhear(self, line: str) -> None:
        """Takes a line of the output that is not searched, to say so if nothing is found."""
        if not self._elsewhere and self._elsewhere_pattern.search(line):
            self._elsewhere = line.strip()[:_NEAR_MISS_LENGTH]

    def note(self, text: str) -> None:
        """Takes what hindered the reading, to say so if nothing is found."""
        if len(self._notes) < _NOTES_KEPT:
            self._notes[text] = None

    def _point(
        self, name: str, value: float, time: str | None = None, epoch: int | None = None
    ) -> tuple[str, Point]:
        points = self._series[name]
        points.append(Point(step=len(points), value=value, time=time, epoch=epoch))
        return name, points[-1]

    @property
    def series(self) -> Mapping[str, tuple[Point, ...]]:
        """Each metric's points so far."""
        return {name: tuple(points) for name, points in self._series.items()}

    def search_report(self) -> str:
        """What was searched, in a sentence: for a first metric that did not come.

        Below it stand what hindered the reading and what nearly matched: lines with the metric's
        name, preferably with a number right after it.
        """
        lines = [*self._notes]
        lines += [f"nearly: {line}" for line in next(iter(self._near_misses.values())).lines]
        if self._elsewhere:
            lines.append(f"in the output, which is not searched: {self._elsewhere}")
        return "\n  ".join([self._searched(), *lines])

    def _searched(self) -> str:
        raise NotImplementedError


class _NearMisses:
    """The first lines that name a metric and report nothing, those with a number before others."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._with_number: list[str] = []
        self._without: list[str] = []

    def add(self, line: str) -> None:
        at = line.find(self._name)
        start = max(0, at - _NEAR_MISS_LENGTH // 2)
        behind = line[at + len(self._name) : at + len(self._name) + 10]
        kept = self._with_number if any(map(str.isdigit, behind)) else self._without
        if len(kept) < _NEAR_MISSES_KEPT:
            kept.append(line[start : start + _NEAR_MISS_LENGTH].strip())

    @property
    def lines(self) -> list[str]:
        return [*self._with_number, *self._without][:_NEAR_MISSES_KEPT]


def time_of(seconds: float) -> str | None:
    """A time since the epoch in RFC 3339, whole microseconds; None for what is no time."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None
