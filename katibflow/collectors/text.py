"""The collector StdOut: it reads metrics from lines of text by filters (regular expressions).

Source: ``pkg/metricscollector/v1beta1/file-metricscollector/file-metricscollector.go``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from katibflow.collectors.base import RFC3339, Collector
from katibflow.collectors.kind import Kind, filters_of
from katibflow.collectors.known_formats import FORMATS, filter_of, suggested
from katibflow.errors import MissingPackage
from katibflow.study.history import Observation, Point
from katibflow.study.series import instant

__all__ = [
    "DEFAULT_FILTER",
    "FILTER_PACKAGES",
    "STDOUT",
    "TextCollector",
    "compile_filter",
    "filter_for",
    "is_readable",
    "observation",
]

DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
"""Katib's filter: a name, an equals sign, a number (``pkg/metricscollector/v1beta1/common``)."""

FILTER_PACKAGES = ("google-re2",)
"""Packages that a user's own filters need, as ``katibflow/steps/pins.json`` names them."""

_IN_WORD = re.compile(r"([\w|-]++)\s*+=\s*+([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)", re.ASCII)
_AT_WORD = re.compile(r"(?<![\w|-])" + _IN_WORD.pattern, re.ASCII)
"""The default filter from the start of a word on, without useless backtracking.

Letters, digits and blanks are those of ASCII, as in Go.
"""

_NAME = re.compile(r"[\w|-]+")
_NOT_FINITE = re.compile(r"\s*([+-]?(?:nan|inf(?:inity)?))\b", re.IGNORECASE)
_EPOCH = re.compile(r"\bepoch\b\W{0,3}([0-9]{1,9})(?![0-9])", re.IGNORECASE)


class TextCollector(Collector):
    """Reads the metrics that filters find in lines of text.

    Args:
        metrics: Names of the metrics, the objective's first; other names are ignored.
        filters: Regular expressions in RE2's syntax with the name as group 1 and the value as
            group 2; Katib's default when empty.
        location: Path of the file with the lines, for the search report; empty for the primary
            container's output.

    Raises:
        MissingPackage: The user gave filters and RE2 is not installed.
        ValueError: A filter is not a regular expression.
    """

    def __init__(
        self, metrics: Sequence[str], filters: Iterable[str] = (), location: str = ""
    ) -> None:
        super().__init__(metrics)
        self.reads_output = not location
        self._location = f" of {location}" if location else ""
        self._filters = tuple(filters)
        self._patterns = [compile_filter(text) for text in self._filters]

    def _read(self, line: str, named: Sequence[str]) -> Sequence[tuple[str, Point]]:
        if self._is_early:
            self._note_others(name for name, _ in self._matches(line))
        if not named:
            return ()
        first = line.split(maxsplit=1)[0] if line.strip() else ""
        time = first if RFC3339.fullmatch(first) else None
        found = _EPOCH.search(line)
        epoch = int(found[1]) if found else None
        return [
            self._told(name, value, time)
            if isinstance(value, str)
            else self._point(name, value, time, epoch)
            for name, value in self._matches(line)
            if name in self._series
        ]

    def _matches(self, line: str) -> Iterator[tuple[str, float | str]]:
        if not self._patterns:
            for match in _default_matches(line):
                number = _value(match[2], line, match.start(2))
                if number is not None:
                    yield match[1], number
            return
        text = line.encode("utf-8", "replace").decode("utf-8")
        for pattern in self._patterns:
            for match in pattern.finditer(text):
                found = (match[2] or "").strip()
                number = _value(found, text, match.start(2))
                if number is not None:
                    yield (match[1] or "").strip(), number
                elif found and self.keeps_texts:
                    yield (match[1] or "").strip(), found

    def _searched(self) -> str:
        patterns = " or ".join(self._filters or (DEFAULT_FILTER,))
        return f"{self._lines} lines{self._location} were read with the filter {patterns}"

    def _cure(self) -> str:
        found = suggested(self._metrics, self.missed_lines())
        if found is None:
            return ""
        form, text = found
        quoted = text.replace("'", "''")
        return (
            f"the form is {form.name}; to read it, paste below spec: "
            f"metricsCollectorSpec: {{source: {{filter: {{metricsFormat: ['{quoted}']}}}}}}"
        )


STDOUT = Kind(
    lambda spec, names: TextCollector(names, filters_of(spec)), reads_text=lambda spec: True
)


def compile_filter(text: str) -> Any:
    """Compiles a user's filter.

    It uses RE2, as Katib does: the syntax is the same, and every filter takes a time that is
    linear in the line's length.

    Raises:
        MissingPackage: RE2 is not installed.
        ValueError: The text is not a regular expression; the message says why.
    """
    try:
        import re2  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingPackage("google-re2", "metricsCollectorSpec.source.filter") from error
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        raise ValueError(
            reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        ) from error


def _default_matches(line: str) -> Iterator[re.Match[str]]:
    """Yields the default filter's matches, the same as its own ``finditer``, in linear time.

    A match starts at the start of a word, or right after the previous match (``a=1b=2``).
    """
    match = _AT_WORD.search(line)
    while match:
        yield match
        match = _IN_WORD.match(line, match.end()) or _AT_WORD.search(line, match.end())


def _value(text: str, line: str, start: int) -> float | None:
    """Returns the number in ``text``, or the NaN or infinity that the line names; None without."""
    if text in ("", "+", "-") and start >= 0:
        named = _NOT_FINITE.match(line, start)
        return float(named[1]) if named else None
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def filter_for(names: Iterable[str]) -> str:
    """Returns a filter, as a user gives one, that reads ``name=value`` for any names.

    Args:
        names: The metrics' names.
    """
    return filter_of(FORMATS[0], names)


def is_readable(name: str) -> bool:
    """Returns whether the default filter can read a metric of this name."""
    return _NAME.fullmatch(name) is not None


def observation(points: Sequence[Point], text: str = "") -> Observation:
    """Returns a metric's latest, lowest and highest value.

    Latest is the point with the newest timestamp, the later line on a tie; a line without one
    counts as the oldest. Min and max are over the finite values; over the infinite ones if there
    are no others, and NaN if all are NaN.

    Args:
        points: At least one.
        text: The last report if that is no number; by default it is one.

    Source: ``trial_controller_util.go`` in Katib.
    """
    latest = max(points, key=lambda point: (instant(point.time), point.step))
    finite = [point.value for point in points if math.isfinite(point.value)]
    numbers = finite or [point.value for point in points if not math.isnan(point.value)]
    return Observation(
        latest=latest.value,
        min=min(numbers, default=math.nan),
        max=max(numbers, default=math.nan),
        text=text,
    )
