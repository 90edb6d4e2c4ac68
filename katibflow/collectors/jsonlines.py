"""Reads metrics from JSON objects: one in each line of a file, or pushed by the training code.

Source: ``parseLogsInJsonFormat`` in Katib's ``file-metricscollector.go``, which takes only
values that are strings; this module takes numbers too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from katibflow.collectors.base import RFC3339, Collector, time_of
from katibflow.collectors.kind import Kind
from katibflow.study.history import Point

__all__ = ["PUSH", "PUSH_MARK", "JsonCollector", "PushCollector"]

PUSH_MARK = "katibflow-metrics"
"""The word before the JSON object in a line of pushed metrics."""

_TIMESTAMP = "timestamp"
_EPOCH = "epoch"
_PUSHED = re.compile(rf"(?:({RFC3339.pattern})\s+)?{PUSH_MARK}\s*+:?\s*+(?=\{{)")


class JsonCollector(Collector):
    """Reads lines that are JSON objects with metrics by name.

    ``timestamp`` is in seconds since the epoch or RFC 3339; ``epoch``, a whole number, is the
    epoch, unless one of the metrics is called so.

    Args:
        metrics: Names of the metrics, the objective's first; other keys are ignored.
        location: Path of the file with the lines, for the search report.
    """

    reads_output = False

    def __init__(self, metrics: Sequence[str], location: str) -> None:
        super().__init__(metrics)
        self._location = location

    def _read(self, line: str, named: Sequence[str]) -> Sequence[tuple[str, Point]]:
        return self._points(_object_at(line, 0), None) if named or self._is_early else ()

    def _points(
        self, data: Mapping[str, Any] | None, time: str | None
    ) -> Sequence[tuple[str, Point]]:
        if data is None:
            return ()
        if self._is_early:
            told = (_TIMESTAMP, _EPOCH)
            others = [key for key in data if key not in told and _value(data[key]) is not None]
            self._note_others(others)
        if _TIMESTAMP in data and _TIMESTAMP not in self._series:
            time = _timestamp(data[_TIMESTAMP]) or time
        epoch = data.get(_EPOCH)
        if _EPOCH in self._series or not isinstance(epoch, int) or isinstance(epoch, bool):
            epoch = None
        values = {name: _value(data[name]) for name in self._series if name in data}
        return [
            self._point(name, value, time, epoch)
            for name, value in values.items()
            if value is not None
        ]

    def _searched(self) -> str:
        return f"{self._lines} lines of {self._location} were read as JSON objects"


class PushCollector(JsonCollector):
    """Reads pushed metrics: lines of the trial's output with `PUSH_MARK` and a JSON object.

    A time (RFC 3339) may precede the mark, and any text may precede the time.
    """

    reads_output = True

    def __init__(self, metrics: Sequence[str]) -> None:
        super().__init__(metrics, "")

    def _read(self, line: str, named: Sequence[str]) -> Sequence[tuple[str, Point]]:
        match = _PUSHED.search(line) if named or self._is_early else None
        return self._points(_object_at(line, match.end()), match[1]) if match else ()

    def _searched(self) -> str:
        return f'{self._lines} lines were read for "{PUSH_MARK} {{...}}", as report_metrics prints'


PUSH = Kind(lambda spec, names: PushCollector(names))


def _object_at(line: str, start: int) -> Mapping[str, Any] | None:
    try:
        if start:
            data, _ = json.JSONDecoder().raw_decode(line, start)
        else:
            data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def _value(value: object) -> float | None:
    """Returns a JSON value as a number: NaN for a text without one, None for any other type."""
    if isinstance(value, str):
        try:
            return math.nan if "_" in value else float(value)
        except ValueError:
            return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _timestamp(value: object) -> str | None:
    if isinstance(value, str):
        return value if RFC3339.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return time_of(value)
