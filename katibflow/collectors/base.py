"""The base class of all metrics collectors: it keeps the series, and explains missing metrics."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from katibflow.experiment.spelling import did_you_mean
from katibflow.printing import visible
from katibflow.study.history import Point
from katibflow.study.series import Series

__all__ = ["RFC3339", "Collector", "Reports", "time_of"]

RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)")

Reports = tuple[tuple[str, Point], ...]
"""The reports in one line: each metric's name and the point."""

_ESCAPE = "\x1b"
_COLOURS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""A terminal's control sequences, as for colours, titles and links."""

_NEAR_MISSES_KEPT = 3
_NEAR_MISS_LENGTH = 200
_LAST_KEPT = 20
_NOTES_KEPT = 5
_TEXT_LENGTH = 10_000
_OTHERS_KEPT = 10
_LOOKED_AT = 200
_NAME_LENGTH = 60


class Collector:
    """Reads a trial's lines one by one and keeps each metric's reports in order.

    Args:
        metrics: Names of the metrics, the objective's first; other names are ignored.

    Attributes:
        reads_output: Whether the collector reads the primary container's output. Otherwise it
            reads the lines that the runner gets from the `sources.Source` of its kind.
        keeps_texts: Whether a value that is no number counts as a report, as a network does that an
            architecture search has found; False by default.
    """

    reads_output = True
    keeps_texts = False

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = tuple(metrics)
        self._elsewhere_pattern = re.compile(re.escape(metrics[0]) + r"\s*=\s*[-+]?\.?\d")
        self.begin()

    def begin(self) -> None:
        """Forgets what was read, as the trial begins (anew)."""
        self._series = {name: Series() for name in self._metrics}
        self._texts: dict[str, str] = {}
        self._near_misses = {name: _NearMisses(name) for name in self._metrics}
        self._lines = 0
        self._notes: dict[str, None] = {}
        self._elsewhere = ""
        self._others: dict[str, None] = {}

    def feed(self, line: str) -> Reports:
        """Reads one line, without a terminal's control sequences; returns the reports in it."""
        self._lines += 1
        if _ESCAPE in line:
            line = _COLOURS.sub("", line)
        named = [name for name in self._series if name in line]
        reports = self._read(line, named)
        reported = {name for name, _ in reports}
        for name in named:
            if name not in reported:
                self._near_misses[name].add(line)
        return tuple(reports)

    def _read(self, line: str, named: Sequence[str]) -> Sequence[tuple[str, Point]]:
        """Returns the reports in a line; ``named`` holds the metrics whose names it contains."""
        raise NotImplementedError

    def skip(self, line: str) -> None:
        """Remembers a line of output that is not searched, for the search report."""
        if not self._elsewhere and self._elsewhere_pattern.search(line):
            self._elsewhere = line.strip()[:_NEAR_MISS_LENGTH]

    @property
    def _is_early(self) -> bool:
        """Whether the line is one of the first, in which other names with a value are noted."""
        return self._lines <= _LOOKED_AT

    def _note_others(self, names: Iterable[str]) -> None:
        """Remembers names that have a value and are no metric of the Experiment's, for the hint."""
        for name in names:
            if len(self._others) < _OTHERS_KEPT and len(name) <= _NAME_LENGTH:
                self._others[name] = None

    def warn(self, text: str) -> None:
        """Remembers an obstacle to the reading, for the search report."""
        if len(self._notes) < _NOTES_KEPT:
            self._notes[text] = None

    def _point(
        self, name: str, value: float, time: str | None = None, epoch: int | None = None
    ) -> tuple[str, Point]:
        self._texts.pop(name, None)
        series = self._series[name]
        point = Point(step=series.count, value=value, time=time, epoch=epoch)
        series.append(point)
        return name, point

    def _told(self, name: str, text: str, time: str | None = None) -> tuple[str, Point]:
        """Adds a report that is a text: a point without a number, and the text beside it."""
        report = self._point(name, math.nan, time)
        self._texts[name] = text[:_TEXT_LENGTH]
        return report

    @property
    def texts(self) -> Mapping[str, str]:
        """Returns each metric's last report if it is a text."""
        return dict(self._texts)

    @property
    def series(self) -> Mapping[str, tuple[Point, ...]]:
        """Returns each metric's points so far, thinned if there are very many."""
        return {name: series.points for name, series in self._series.items()}

    def search_report(self) -> str:
        """Returns a text that says what was searched, for an objective metric that did not come.

        The text goes on with obstacles to the reading, and with near misses: lines that hold the
        metric's name, preferably with a number right after the name.
        """
        lines = [*self._notes]
        lines += [f"nearly: {line}" for line in self.missed_lines()[:_NEAR_MISSES_KEPT]]
        if self._elsewhere:
            lines.append(f"in the output, which is not searched: {self._elsewhere}")
        if cure := self._cure():
            lines.append(cure)
        return "\n  ".join([self._searched(), *lines])

    def hint(self, metric: str) -> str:
        """Returns, in brackets, what the lines report in place of a metric; "" if nothing is known.

        That is the name that is nearest to the metric's, or else all names.
        """
        printed = [name for name in self._others if name not in self._series]
        if not printed:
            return ""
        listed = ", ".join(visible(name, lines=False) for name in printed)
        return did_you_mean(metric, printed) or f" (it reports {listed})"

    def missed_lines(self) -> list[str]:
        """Returns the lines that name the objective's metric and report nothing.

        They are the first ones, those with a number right after the name in front, and then the
        last ones.
        """
        return self._near_misses[self._metrics[0]].lines

    def _searched(self) -> str:
        raise NotImplementedError

    def _cure(self) -> str:
        """Returns what to write into the Experiment so that the lines are read, if known."""
        return ""


class _NearMisses:
    """Keeps the first lines that name a metric and report nothing, those with a number first."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._with_number: list[str] = []
        self._without: list[str] = []
        self._last: deque[str] = deque(maxlen=_LAST_KEPT)

    def add(self, line: str) -> None:
        at = line.find(self._name)
        start = max(0, at - _NEAR_MISS_LENGTH // 2)
        behind = line[at + len(self._name) : at + len(self._name) + 10]
        kept = self._with_number if any(map(str.isdigit, behind)) else self._without
        shown = line[start : start + _NEAR_MISS_LENGTH].strip()
        if len(kept) < _NEAR_MISSES_KEPT:
            kept.append(shown)
        else:
            self._last.append(shown)

    @property
    def lines(self) -> list[str]:
        return [*self._with_number, *self._without, *self._last]


def time_of(seconds: float) -> str | None:
    """Returns seconds since the epoch as RFC 3339 in whole microseconds; None if out of range."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None
