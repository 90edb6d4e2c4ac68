"""The collector File: it reads a text file of the primary container, by filters or as JSON lines.

Source: ``setDefaultMetricsCollector`` in Katib's experiment_defaults.go, and
``validateMetricsCollector`` in its validator.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from posixpath import normpath

from katibflow.collectors.base import Collector
from katibflow.collectors.jsonlines import JsonCollector
from katibflow.collectors.kind import (
    PATH,
    WHERE,
    Kind,
    file_of,
    filters_of,
    path_faults,
    section_of,
)
from katibflow.collectors.sources import Files
from katibflow.collectors.text import TextCollector
from katibflow.errors import Fault
from katibflow.experiment.types import MetricsCollectorSpec

__all__ = ["FILE"]

_DEFAULT_FILE = "/var/log/katib/metrics.log"


def _path(spec: MetricsCollectorSpec) -> str:
    return normpath(file_of(spec).path or _DEFAULT_FILE)


def _collector(spec: MetricsCollectorSpec, names: Sequence[str]) -> Collector:
    if file_of(spec).format == "JSON":
        return JsonCollector(names, _path(spec))
    return TextCollector(names, filters_of(spec), _path(spec))


def _source(spec: MetricsCollectorSpec, names: Sequence[str]) -> Files:
    return Files(_path(spec))


def _faults(spec: MetricsCollectorSpec) -> Iterator[Fault]:
    given = file_of(spec)
    if given.kind not in (None, "File"):
        yield Fault(f"{PATH}.kind", f'"{given.kind}"', "File, for the collector File")
    yield from path_faults(given.path)
    if given.format == "JSON" and section_of(spec).filter is not None:
        yield Fault(f"{WHERE}.source.filter", "a filter", "nothing: JSON says itself what is what")


FILE = Kind(_collector, _source, _faults, reads_text=lambda spec: file_of(spec).format != "JSON")
