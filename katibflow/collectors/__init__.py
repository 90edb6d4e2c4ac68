"""Metrics collectors: one module for each form in which a trial reports its metrics.

A collector reads lines. `source_for` says where a runner finds them, and `kinds` which Katib kind
has which collector and which source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from katibflow.collectors.base import Collector, Reports
from katibflow.collectors.kinds import KINDS
from katibflow.collectors.rules import RULES, WHERE
from katibflow.collectors.sources import Files, Source
from katibflow.collectors.text import compile_filter
from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import Experiment, ExperimentSpec

__all__ = [
    "READER_IMAGE",
    "Collector",
    "Reports",
    "Source",
    "collector_for",
    "faults",
    "source_for",
]

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


def faults(parts: Parts) -> Iterator[Fault]:
    """What is wrong with the metrics collector."""
    spec = parts.metrics_collector
    if spec is None:
        return
    rule = RULES.get(spec.collector.kind)
    if rule is None:
        yield Fault(f"{WHERE}.collector.kind", f'"{spec.collector.kind}"', ", ".join(RULES))
    else:
        yield from rule(spec)
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
