"""Reads metrics from JSON objects: a file of them, one a line, or those that a trial pushes.

Source: ``parseLogsInJsonFormat`` in Katib's ``file-metricscollector.go``, which takes values that
are strings only; numbers are as good here.
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
"""The word before the object in a line by which a trial pushes metrics."""

_TIMESTAMP = "timestamp"
_EPOCH = "epoch"
_PUSHED = re.compile(rf"(?:({RFC3339.pattern})\s+)?{PUSH_MARK}\s*+:?\s*+(?=\{{)")


class JsonCollector(Collector):
    """Reads lines that are JSON objects with metrics by name.

    ``timestamp`` is in seconds since the epoch or RFC 3339; ``epoch``, a whole number, is the
    epoch, unless one of the metrics is called so.

    Args:
        metrics: The names to look for, the objective's first; other keys are passed over.
        place: Where the lines stand.
    """

    reads_output = False

    def __init__(self, metrics: Sequence[str], place: str) -> None:
        super().__init__(metrics)
        self._place = place

    def _read(self, line: str, named: Sequence[str]) -> Sequence[tuple[str, Point]]:
        return self._points(_object_at(line, 0), None) if named else ()

    def _points(
        self, data: Mapping[str, Any] | None, time: str | None
    ) -> Sequence[tuple[str, Point]]:
        if data is None:
            return ()
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
        return f"{self._lines} lines of {self._place} were read as JSON objects"


class PushCollector(JsonCollector):
    """Reads what a trial pushes: lines of its output with `PUSH_MARK` and a JSON object.

    In front of the mark may stand the time (RFC 3339), and anything before that.
    """

    reads_output = True

    def __init__(self, metrics: Sequence[str]) -> None:
        super().__init__(metrics, "")

    def _read(self, line: str, named: Sequence[str]) -> Sequence[tuple[str, Point]]:
        match = _PUSHED.search(line) if named else None
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
    """The number that a value is, NaN for text that is none; None for what is no value."""
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
