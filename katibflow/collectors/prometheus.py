"""The collector PrometheusMetric: it reads metrics from a page in Prometheus's text format.

A runner requests the page periodically and gives it to `ChangedSamples`. That class returns the
samples that are new or changed as lines of the same format, each with its time, and the collector
reads these lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from katibflow.collectors.base import Collector, time_of
from katibflow.collectors.kind import WHERE, Kind, section_of
from katibflow.collectors.sources import Endpoint
from katibflow.errors import Fault
from katibflow.experiment.types import MetricsCollectorSpec
from katibflow.experiment.yaml_reader import found
from katibflow.study.history import Point

__all__ = ["PROMETHEUS_METRIC", "ChangedSamples", "PrometheusCollector"]

_DEFAULT_PORT = 8080
_DEFAULT_PAGE = "/metrics"

_SAMPLE = re.compile(
    r'([a-zA-Z_:][\w:]*+)(?:[ \t]*+(\{(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\})[ \t]*+|[ \t]++)(\S++)'
    r"(?:[ \t]++(-?\d++))?",
    re.ASCII,
)
_LABEL = re.compile(r'([a-zA-Z_]\w*)\s*=\s*("(?:[^"\\]|\\.)*+")', re.ASCII)
_NAMES_KEPT = 20
_ITS_OWN = ("process_", "python_")
"""Prefixes of the metrics by which Prometheus's client describes the process itself."""


@dataclass(frozen=True)
class _Sample:
    """One sample: ``labels`` sorted and in braces, or empty; ``time`` in milliseconds."""

    name: str
    labels: str
    text: str
    time: str | None

    def is_of(self, metric: str) -> bool:
        """Returns whether a metric's name selects the sample; without labels it selects all."""
        return metric == self.name or _normal(metric) == self.name + self.labels


def _normal(text: str) -> str:
    name, brace, labels = text.partition("{")
    return name.strip() + _labels(brace + labels)


def _labels(text: str) -> str:
    pairs = sorted(f"{key}={value}" for key, value in _LABEL.findall(text))
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _samples(page: str) -> Iterator[_Sample]:
    for line in page.split("\n"):
        match = _SAMPLE.match(line.strip(" \t\r"))
        if match:
            yield _Sample(match[1], _labels(match[2] or ""), match[3], match[4])


class ChangedSamples:
    """Turns pages into lines: the samples that are new or changed since the previous page.

    A gauge holds 0 until the program sets it, so a 0 on the first page is no report until the
    value changes.

    Args:
        names: Names of the metrics to look for.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._known: dict[str, tuple[str, str | None]] = {}
        self._seen: dict[str, None] = {}

    def feed(self, page: str, now: float) -> list[str]:
        """Returns the lines of a page.

        Args:
            page: The page's text.
            now: Seconds since the epoch, for samples without a time of their own.
        """
        lines: list[str] = []
        for sample in _samples(page):
            if len(self._seen) < _NAMES_KEPT and not sample.name.startswith(_ITS_OWN):
                self._seen[sample.name] = None
            if not any(sample.is_of(name) for name in self._names):
                continue
            key = sample.name + sample.labels
            value = _number(sample.text)
            if value is None:
                continue
            text, moment = self._known.get(key, ("", None))
            self._known[key] = repr(value), sample.time
            same = text == repr(value) and sample.time in (None, moment)
            if same or (not text and value == 0):
                continue
            time = sample.time or str(round(now * 1000))
            lines.append(f"{key} {sample.text} {time}")
        return lines

    def account(self) -> list[str]:
        """Returns explanations for a metric that did not come."""
        lines = []
        for name in self._names[:1]:
            keys = [key for key in self._known if _Sample(*_split(key), "", None).is_of(name)]
            if keys:
                lines.append(f"{name} was 0 all the time, as a gauge is that was never set")
            elif self._seen:
                lines.append(f"no sample is called {name}, but these: {', '.join(self._seen)}")
        return lines


def _split(key: str) -> tuple[str, str]:
    name, brace, labels = key.partition("{")
    return name, brace + labels


def _number(text: str) -> float | None:
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


class PrometheusCollector(Collector):
    """Reads the lines of `ChangedSamples`.

    Args:
        metrics: Names of the metrics, the objective's first: ``loss`` or ``loss{stage="val"}``.
        location: Address of the page, for the search report.
    """

    reads_output = False

    def __init__(self, metrics: Sequence[str], location: str) -> None:
        super().__init__(metrics)
        self._location = location

    def _read(self, line: str, named: Sequence[str]) -> Sequence[tuple[str, Point]]:
        reports = []
        for sample in _samples(line):
            value = _number(sample.text)
            time = time_of(int(sample.time) / 1000) if sample.time else None
            if value is not None:
                names = [name for name in self._series if sample.is_of(name)]
                reports += [self._point(name, value, time) for name in names]
        return reports

    def _searched(self) -> str:
        return f"{self._lines} new values were read from {self._location}"


def _port_of(given: Mapping[str, Any]) -> int | None:
    """Returns the port, or None if the text is no port. Katib takes a 0 for the default."""
    port = given.get("port") or _DEFAULT_PORT
    text = str(port)
    good = isinstance(port, int | str) and text.isascii() and text.isdigit()
    return int(text) if good and 0 < int(text[:9]) < 65536 else None


def _source(spec: MetricsCollectorSpec, names: Sequence[str]) -> Endpoint:
    given = section_of(spec).http_get or {}
    port = _port_of(given) or _DEFAULT_PORT
    return Endpoint(given.get("path") or _DEFAULT_PAGE, port, partial(ChangedSamples, names))


def _collector(spec: MetricsCollectorSpec, names: Sequence[str]) -> PrometheusCollector:
    endpoint = _source(spec, names)
    return PrometheusCollector(names, f"port {endpoint.port}, {endpoint.path}")


def _faults(spec: MetricsCollectorSpec) -> Iterator[Fault]:
    where = f"{WHERE}.source.httpGet"
    given = section_of(spec).http_get or {}
    if _port_of(given) is None:
        yield Fault(f"{where}.port", found(given["port"]), "a number from 1 to 65535")
    path = given.get("path")
    if path and not (isinstance(path, str) and path.startswith("/")):
        yield Fault(f"{where}.path", found(path), "a path that begins with /")
    for key in given:
        if key == "scheme" and given[key] == "HTTP":
            continue
        if key not in ("path", "port") and given[key] is not None:
            allowed = "HTTP" if key == "scheme" else "path and port: the primary container is asked"
            yield Fault(f"{where}.{key}", found(given[key]), allowed)


PROMETHEUS_METRIC = Kind(_collector, _source, _faults)
