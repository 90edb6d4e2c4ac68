"""What a file may say of a metrics collector, kind by kind.

What Katib accepts and passes over is accepted and passed over here. Source:
``validateMetricsCollector`` in Katib's validator.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from posixpath import normpath

from katibflow.collectors.kinds import port_of
from katibflow.errors import Fault
from katibflow.experiment.types import CollectorSource, FileSystemPath, MetricsCollectorSpec
from katibflow.experiment.yaml_reader import found

__all__ = ["RULES", "WHERE"]

WHERE = "spec.metricsCollectorSpec"

_PATH = f"{WHERE}.source.fileSystemPath"
_GET = f"{WHERE}.source.httpGet"


def _source(spec: MetricsCollectorSpec) -> CollectorSource:
    return spec.source or CollectorSource()


def _file(spec: MetricsCollectorSpec) -> FileSystemPath:
    return _source(spec).file_system_path or FileSystemPath()


def _no_faults(spec: MetricsCollectorSpec) -> Iterator[Fault]:
    return iter(())


def _file_faults(spec: MetricsCollectorSpec) -> Iterator[Fault]:
    given = _file(spec)
    if given.kind not in (None, "File"):
        yield Fault(f"{_PATH}.kind", f'"{given.kind}"', "File, for the collector File")
    yield from _path_faults(given.path)
    if given.format == "JSON" and _source(spec).filter is not None:
        yield Fault(f"{WHERE}.source.filter", "a filter", "nothing: JSON says itself what is what")


def _path_faults(path: str | None) -> Iterator[Fault]:
    if path and (not path.startswith("/") or normpath(path) in ("/", "//")):
        yield Fault(f"{_PATH}.path", f'"{path}"', "an absolute path in the container, below /")


def _event_faults(spec: MetricsCollectorSpec) -> Iterator[Fault]:
    given = _file(spec)
    if given.kind not in (None, "Directory"):
        yield Fault(f"{_PATH}.kind", f'"{given.kind}"', "Directory, for TensorFlowEvent")
    yield from _path_faults(given.path)
    if given.format is not None:
        yield Fault(f"{_PATH}.format", f'"{given.format}"', "nothing: event files have one format")


def _page_faults(spec: MetricsCollectorSpec) -> Iterator[Fault]:
    given = _source(spec).http_get or {}
    if port_of(given) is None:
        yield Fault(f"{_GET}.port", found(given["port"]), "a number from 1 to 65535")
    path = given.get("path")
    if path and not (isinstance(path, str) and path.startswith("/")):
        yield Fault(f"{_GET}.path", found(path), "a path that begins with /")
    for key in given:
        if key == "scheme" and given[key] == "HTTP":
            continue
        if key not in ("path", "port") and given[key] is not None:
            allowed = "HTTP" if key == "scheme" else "path and port: the primary container is asked"
            yield Fault(f"{_GET}.{key}", found(given[key]), allowed)


def _custom_faults(spec: MetricsCollectorSpec) -> Iterator[Fault]:
    where = f"{WHERE}.collector.customCollector"
    container = spec.collector.custom_collector
    if not container:
        yield Fault(where, "", "a container that prints the metrics, for the collector Custom")
    else:
        for key in ("name", "image"):
            value = container.get(key)
            if not isinstance(value, str) or not value:
                yield Fault(f"{where}.{key}", "" if value is None else found(value), "a string")
    given = _source(spec).file_system_path
    if given is None:
        return
    if given.kind is None:
        yield Fault(f"{_PATH}.kind", "", "File or Directory, for the collector Custom")
    if not given.path:
        yield Fault(f"{_PATH}.path", "", "an absolute path in the container")
    yield from _path_faults(given.path)


RULES: Mapping[str, Callable[[MetricsCollectorSpec], Iterator[Fault]]] = {
    "StdOut": _no_faults,
    "File": _file_faults,
    "TensorFlowEvent": _event_faults,
    "PrometheusMetric": _page_faults,
    "Push": _no_faults,
    "None": _no_faults,
    "Custom": _custom_faults,
}
"""What is wrong with a specification, by the kind of its collector."""
