"""The collector Custom: a container of the user's runs beside the primary one and prints metrics.

Source: ``validateMetricsCollector`` in Katib's validator.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from posixpath import normpath

from katibflow.collectors.base import Collector
from katibflow.collectors.kind import (
    PATH,
    WHERE,
    Kind,
    filters_of,
    path_faults,
    section_of,
)
from katibflow.collectors.sources import Files, SideContainer
from katibflow.collectors.text import TextCollector
from katibflow.errors import Fault
from katibflow.experiment.types import MetricsCollectorSpec
from katibflow.experiment.yaml_reader import found

__all__ = ["CUSTOM"]


def _collector(spec: MetricsCollectorSpec, names: Sequence[str]) -> Collector:
    name = (spec.collector.custom_collector or {}).get("name")
    return TextCollector(names, filters_of(spec), f"the container {name}")


def _source(spec: MetricsCollectorSpec, names: Sequence[str]) -> SideContainer:
    given = section_of(spec).file_system_path
    files = None
    if given is not None and given.path:
        files = Files(normpath(given.path), "*" if given.kind == "Directory" else "")
    return SideContainer(spec.collector.custom_collector or {}, files)


def _faults(spec: MetricsCollectorSpec) -> Iterator[Fault]:
    where = f"{WHERE}.collector.customCollector"
    container = spec.collector.custom_collector
    if not container:
        yield Fault(where, "", "a container that prints the metrics, for the collector Custom")
    else:
        for key in ("name", "image"):
            value = container.get(key)
            if not isinstance(value, str) or not value:
                yield Fault(f"{where}.{key}", "" if value is None else found(value), "a string")
    given = section_of(spec).file_system_path
    if given is None:
        return
    if given.kind is None:
        yield Fault(f"{PATH}.kind", "", "File or Directory, for the collector Custom")
    if not given.path:
        yield Fault(f"{PATH}.path", "", "an absolute path in the container")
    yield from path_faults(given.path)


CUSTOM = Kind(_collector, _source, _faults, reads_text=lambda spec: True)
