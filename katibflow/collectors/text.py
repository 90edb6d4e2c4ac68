"""Reads metrics from lines of text, as Katib's StdOut and File collectors do.

Source: ``pkg/metricscollector/v1beta1/file-metricscollector/file-metricscollector.go``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from katibflow.history import Observation, Point

__all__ = ["DEFAULT_FILTER", "TextCollector", "observation"]

DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
"""Katib's filter: a name, an equals sign, a number (``pkg/metricscollector/v1beta1/common``)."""

_NOT_FINITE = re.compile(r"\s*([+-]?(?:nan|inf(?:inity)?))\b", re.IGNORECASE)
_EPOCH = re.compile(r"\bepoch\b\W{0,3}(\d+)", re.IGNORECASE)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")
_NEAR_MISSES_KEPT = 3


class TextCollector:
    """Takes a trial's lines one by one and keeps each metric's reports in order.

    Args:
        metrics: The names to look for; others are passed over.
        filters: Regular expressions with the name as group 1 and the value as group 2; Katib's
            default when empty.
    """

    def __init__(self, metrics: Sequence[str], filters: Iterable[str] = ()) -> None:
        self._filters = [re.compile(text) for text in filters] or [re.compile(DEFAULT_FILTER)]
        self._series: dict[str, list[Point]] = {name: [] for name in metrics}
        self._near_misses: list[str] = []
        self._lines = 0

    def feed(self, line: str) -> tuple[tuple[str, Point], ...]:
        """Reads one line; returns what it reports: metric name and point."""
        self._lines += 1
        if not any(name in line for name in self._series):
            return ()
        first = line.split(maxsplit=1)[0] if line.strip() else ""
        time = first if _RFC3339.fullmatch(first) else None
        epoch = _EPOCH.search(line)
        reports: list[tuple[str, Point]] = []
        for pattern in self._filters:
            for match in pattern.finditer(line):
                name = (match[1] or "").strip()
                if name not in self._series:
                    continue
                point = Point(
                    step=len(self._series[name]),
                    value=_value(line, match),
                    time=time,
                    epoch=int(epoch[1]) if epoch else None,
                )
                self._series[name].append(point)
                reports.append((name, point))
        if not reports and len(self._near_misses) < _NEAR_MISSES_KEPT:
            self._near_misses.append(line.strip()[:200])
        return tuple(reports)

    @property
    def series(self) -> Mapping[str, tuple[Point, ...]]:
        """Each metric's points so far."""
        return {name: tuple(points) for name, points in self._series.items()}

    def search_report(self) -> str:
        """What was searched, in a sentence: for a metric that did not come."""
        patterns = " or ".join(pattern.pattern for pattern in self._filters)
        near = "".join(f"\n  nearly: {line}" for line in self._near_misses)
        return f"{self._lines} lines were read with the filter {patterns}{near}"


def _value(line: str, match: re.Match[str]) -> float:
    text = (match[2] or "").strip()
    if text in ("", "+", "-"):
        named = _NOT_FINITE.match(line, match.start(2))
        return float(named[1]) if named else math.nan
    try:
        return float(text)
    except ValueError:
        return math.nan


def observation(points: Sequence[Point]) -> Observation:
    """Sums a metric's points up.

    Latest is the point with the newest timestamp, the later line on a tie; a line without one
    counts as the oldest. Min and max are over the finite values, NaN if there is none.

    Args:
        points: At least one.

    Source: ``trial_controller_util.go`` in Katib.
    """
    latest = max(points, key=lambda point: (_instant(point.time), point.step))
    finite = [point.value for point in points if math.isfinite(point.value)]
    return Observation(
        latest=latest.value,
        min=min(finite, default=math.nan),
        max=max(finite, default=math.nan),
    )


def _instant(text: str | None) -> float:
    if text is None:
        return -math.inf
    try:
        return datetime.fromisoformat(text.upper().replace("Z", "+00:00")).timestamp()
    except ValueError:
        return -math.inf
