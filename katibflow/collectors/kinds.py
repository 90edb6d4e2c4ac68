"""Katib's kinds of metrics collector: what each reads, and where.

Source: ``setDefaultMetricsCollector`` in Katib's experiment_defaults.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from posixpath import normpath
from typing import Any

from katibflow.collectors.base import Collector
from katibflow.collectors.jsonlines import JsonCollector, PushCollector
from katibflow.collectors.prometheus import ChangedSamples, PrometheusCollector
from katibflow.collectors.scraping import Scraper
from katibflow.collectors.sources import Endpoint, Files, SideContainer, Source
from katibflow.collectors.text import TextCollector
from katibflow.collectors.tfevent import EVENT_FILES, EventCollector, EventFiles
from katibflow.experiment.types import CollectorSource, FileSystemPath, MetricsCollectorSpec

__all__ = ["KINDS", "Kind", "port_of"]

DEFAULT_FILE = "/var/log/katib/metrics.log"
DEFAULT_FOLDER = "/var/log/katib/tfevent"
DEFAULT_PORT = 8080
DEFAULT_PAGE = "/metrics"


@dataclass(frozen=True)
class Kind:
    """One kind of metrics collector.

    Attributes:
        collector: Makes a new one: from the specification and the metrics' names.
        source: What a runner reads for it; None: the primary container's output.
    """

    collector: Callable[[MetricsCollectorSpec, Sequence[str]], Collector]
    source: Callable[[MetricsCollectorSpec, Sequence[str]], Source | None]


def _source(spec: MetricsCollectorSpec) -> CollectorSource:
    return spec.source or CollectorSource()


def _file(spec: MetricsCollectorSpec) -> FileSystemPath:
    return _source(spec).file_system_path or FileSystemPath()


def _filters(spec: MetricsCollectorSpec) -> Sequence[str]:
    given = _source(spec).filter
    return given.metrics_format if given else ()


def _nothing(spec: MetricsCollectorSpec, names: Sequence[str]) -> None:
    return None


def _output(spec: MetricsCollectorSpec, names: Sequence[str]) -> Collector:
    return TextCollector(names, _filters(spec))


def _pushed(spec: MetricsCollectorSpec, names: Sequence[str]) -> Collector:
    return PushCollector(names)


def _file_path(spec: MetricsCollectorSpec) -> str:
    return normpath(_file(spec).path or DEFAULT_FILE)


def _file_collector(spec: MetricsCollectorSpec, names: Sequence[str]) -> Collector:
    path = _file_path(spec)
    if _file(spec).format == "JSON":
        return JsonCollector(names, path)
    return TextCollector(names, _filters(spec), path)


def _file_source(spec: MetricsCollectorSpec, names: Sequence[str]) -> Source:
    return Files(_file_path(spec))


def _folder(spec: MetricsCollectorSpec) -> str:
    return normpath(_file(spec).path or DEFAULT_FOLDER)


def _event_collector(spec: MetricsCollectorSpec, names: Sequence[str]) -> Collector:
    return EventCollector(names, _folder(spec))


def _event_source(spec: MetricsCollectorSpec, names: Sequence[str]) -> Source:
    return Files(_folder(spec), EVENT_FILES, EventFiles, collector="TensorFlowEvent")


def port_of(given: Mapping[str, Any]) -> int | None:
    """The port; None when it is none. Katib takes a 0 for the default."""
    port = given.get("port") or DEFAULT_PORT
    text = str(port)
    good = isinstance(port, int | str) and text.isascii() and text.isdigit()
    return int(text) if good and 0 < int(text[:9]) < 65536 else None


def _endpoint(spec: MetricsCollectorSpec, names: Sequence[str]) -> Endpoint:
    given = _source(spec).http_get or {}
    port = port_of(given) or DEFAULT_PORT
    return Endpoint(
        given.get("path") or DEFAULT_PAGE, port, partial(Scraper, ChangedSamples(names))
    )


def _page_collector(spec: MetricsCollectorSpec, names: Sequence[str]) -> Collector:
    endpoint = _endpoint(spec, names)
    return PrometheusCollector(names, f"port {endpoint.port}, {endpoint.path}")


def _custom_collector(spec: MetricsCollectorSpec, names: Sequence[str]) -> Collector:
    name = (spec.collector.custom_collector or {}).get("name")
    return TextCollector(names, _filters(spec), f"the container {name}")


def _custom_source(spec: MetricsCollectorSpec, names: Sequence[str]) -> Source:
    given = _source(spec).file_system_path
    files = None
    if given is not None and given.path:
        files = Files(normpath(given.path), "*" if given.kind == "Directory" else "")
    return SideContainer(spec.collector.custom_collector or {}, files)


KINDS: Mapping[str, Kind] = {
    "StdOut": Kind(_output, _nothing),
    "File": Kind(_file_collector, _file_source),
    "TensorFlowEvent": Kind(_event_collector, _event_source),
    "PrometheusMetric": Kind(_page_collector, _endpoint),
    "Push": Kind(_pushed, _nothing),
    "None": Kind(_pushed, _nothing),
    "Custom": Kind(_custom_collector, _custom_source),
}
"""By Katib's name. None is what Push was called before: the trial tells its metrics by itself.

Every entry stands on a line of its own: a compiled pipeline carries only the Experiment's.
"""
