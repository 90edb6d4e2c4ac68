"""Metrics collectors: one module for each format in which a trial reports its metrics.

A collector reads lines. Each kind, in the module of its format, says what makes the collector and
where a runner finds the lines; `KINDS` has them by Katib's names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from katibflow.collectors.base import Collector, Reports
from katibflow.collectors.custom import CUSTOM
from katibflow.collectors.files import FILE
from katibflow.collectors.jsonlines import PUSH
from katibflow.collectors.kind import WHERE, Kind, filters_of
from katibflow.collectors.prometheus import PROMETHEUS_METRIC
from katibflow.collectors.sources import Files, Source
from katibflow.collectors.text import FILTER_PACKAGES, STDOUT, compile_filter
from katibflow.collectors.tfevent import TENSORFLOW_EVENT
from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import Experiment, ExperimentSpec

__all__ = [
    "FILTER_PACKAGES",
    "KINDS",
    "READER_IMAGE",
    "Collector",
    "Reports",
    "Source",
    "collector_for",
    "faults",
    "packages_of",
    "source_for",
]

KINDS: Mapping[str, Kind] = {
    "StdOut": STDOUT,
    "File": FILE,
    "TensorFlowEvent": TENSORFLOW_EVENT,
    "PrometheusMetric": PROMETHEUS_METRIC,
    "Push": PUSH,
    "None": PUSH,
    "Custom": CUSTOM,
}
"""By Katib's name. None is what Push was called before: the trial tells its metrics by itself."""

READER_IMAGE = "katibflow/metricsReaderImage"
"""Annotation of the Experiment: the image that copies files out of a pod; Katib passes it over."""

_DEFAULT_IMAGE = "busybox:1.37"


def collector_for(spec: ExperimentSpec) -> Collector:
    """A new collector for one trial of the experiment."""
    given = spec.metrics_collector_spec
    return KINDS[given.collector.kind].collector(given, spec.objective.metric_names)


def source_for(experiment: Experiment) -> Source | None:
    """What a runner reads for the collector; None: nothing but the primary container's output."""
    spec = experiment.spec
    given = spec.metrics_collector_spec
    source = KINDS[given.collector.kind].source(given, spec.objective.metric_names)
    if isinstance(source, Files):
        image = experiment.metadata.annotations.get(READER_IMAGE)
        return replace(source, image=image or _DEFAULT_IMAGE)
    return source


def packages_of(spec: ExperimentSpec) -> tuple[str, ...]:
    """Returns what pip is to install where the experiment's metrics are read."""
    given = spec.metrics_collector_spec
    own = KINDS[given.collector.kind].packages
    return (*own, *FILTER_PACKAGES) if filters_of(given) else own


def faults(parts: Parts) -> Iterator[Fault]:
    """What is wrong with the metrics collector."""
    spec = parts.metrics_collector
    if spec is None:
        return
    kind = KINDS.get(spec.collector.kind)
    if kind is None:
        yield Fault(f"{WHERE}.collector.kind", f'"{spec.collector.kind}"', ", ".join(KINDS))
    else:
        yield from kind.faults(spec)
    if spec.source is None:
        return
    for index, text in enumerate(spec.source.filter.metrics_format if spec.source.filter else ()):
        path = f"{WHERE}.source.filter.metricsFormat[{index}]"
        try:
            groups = compile_filter(text).groups
        except ValueError as error:
            yield Fault(path, f'"{text}"', f"a regular expression in RE2's syntax ({error})")
            continue
        if groups < 2:
            yield Fault(path, f'"{text}"', "two groups at least: the metric's name, then its value")
