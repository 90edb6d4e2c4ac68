"""Registry of the metrics collectors; each format of metrics has a module of its own beside it.

A collector reads lines. Each module defines a `Kind`, which makes the collector and names the
source that a runner reads for it; `KINDS` maps Katib's names to the kinds.
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
from katibflow.collectors.text import (
    DEFAULT_FILTER,
    FILTER_PACKAGES,
    STDOUT,
    compile_filter,
    filter_for,
    is_readable,
)
from katibflow.collectors.tfevent import TENSORFLOW_EVENT
from katibflow.errors import Fault
from katibflow.experiment.job_kinds import has_primary, kind_of
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import Experiment, ExperimentSpec, Objective
from katibflow.study.objectives import needed_metrics

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
"""Katib's name to kind; None is the former name of Push, whose trials report metrics themselves."""

READER_IMAGE = "katibflow/metricsReaderImage"
"""Annotation of the Experiment with the image that copies files out of a pod; Katib ignores it."""

_DEFAULT_IMAGE = "busybox:1.37"


def collector_for(spec: ExperimentSpec) -> Collector:
    """Returns a new collector for one trial of the experiment."""
    given = spec.metrics_collector_spec
    collector = KINDS[given.collector.kind].collector(given, spec.objective.metric_names)
    collector.keeps_texts = spec.nas_config is not None
    return collector


def source_for(experiment: Experiment) -> Source | None:
    """Returns the source that a runner reads, or None if it reads the primary output alone."""
    spec = experiment.spec
    given = spec.metrics_collector_spec
    source = KINDS[given.collector.kind].source(given, spec.objective.metric_names)
    if isinstance(source, Files):
        image = experiment.metadata.annotations.get(READER_IMAGE)
        return replace(source, image=image or _DEFAULT_IMAGE)
    return source


def packages_of(spec: ExperimentSpec) -> tuple[str, ...]:
    """Returns the packages that pip installs where the experiment's metrics are read."""
    given = spec.metrics_collector_spec
    own = KINDS[given.collector.kind].packages
    return (*own, *FILTER_PACKAGES) if filters_of(given) else own


def _place_faults(parts: Parts) -> Iterator[Fault]:
    """Yields a fault if only output can be read, as nothing can be added to the trial's pods."""
    template, spec = parts.trial_template, parts.metrics_collector
    if template is None or template.trial_spec is None or spec is None:
        return
    manifest, primary = template.trial_spec, template.primary_container_name or ""
    kind = kind_of(manifest)
    if kind.replica_specs or kind.pod_template:
        return
    if kind.env or not has_primary(manifest, primary):
        yield Fault(
            f"{WHERE}.collector.kind",
            f'"{spec.collector.kind}"',
            f"StdOut or Push with a {kind.kind}, whose object describes no pod with the container "
            f'"{primary}" that a reader could be added to',
        )


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the metrics collector's specification."""
    spec = parts.metrics_collector
    if spec is None:
        return
    kind = KINDS.get(spec.collector.kind)
    if kind is None:
        yield Fault(f"{WHERE}.collector.kind", f'"{spec.collector.kind}"', ", ".join(KINDS))
    else:
        found = list(kind.faults(spec))
        if kind.reads_text(spec) and not filters_of(spec):
            found += _unreadable_names(parts.objective)
        yield from found
        if not found and kind.source(spec, ()) is not None:
            yield from _place_faults(parts)
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


def _unreadable_names(objective: Objective | None) -> Iterator[Fault]:
    """Yields a fault if the default filter cannot read a metric without which a trial fails."""
    if objective is None:
        return
    wrong = [name for name in needed_metrics(objective) if not is_readable(name)]
    if wrong:
        listed = ", ".join(f'"{name}"' for name in wrong)
        yield Fault(
            f"{WHERE}.source.filter.metricsFormat",
            f"none, and the metric {listed}, which the default filter {DEFAULT_FILTER} cannot read",
            f"a name of letters, digits, _, - and |; or this filter, in quotes: "
            f"- '{filter_for(objective.metric_names)}'",
        )
