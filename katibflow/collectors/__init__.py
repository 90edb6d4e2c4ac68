"""Metrics collectors: one module for each way a trial reports its metrics."""

from __future__ import annotations

from collections.abc import Iterator

from katibflow.collectors.text import TextCollector, compile_filter
from katibflow.errors import Fault
from katibflow.experiment import ExperimentSpec
from katibflow.loading import Parts

__all__ = ["TextCollector", "collector_for", "faults"]

_WHERE = "spec.metricsCollectorSpec"


def collector_for(spec: ExperimentSpec) -> TextCollector:
    """A new collector for one trial of the experiment."""
    source = spec.metrics_collector_spec.source
    filters = source.filter.metrics_format if source and source.filter else ()
    return TextCollector(spec.objective.metric_names, filters)


def faults(parts: Parts) -> Iterator[Fault]:
    """What is wrong with the metrics collector and the objective's metrics."""
    yield from _objective_faults(parts)
    spec = parts.metrics_collector
    if spec is None:
        return
    if spec.collector.kind != "StdOut":
        yield Fault(f"{_WHERE}.collector.kind", f'"{spec.collector.kind}"', "StdOut for now")
    if spec.source is None:
        return
    if spec.source.http_get is not None:
        yield Fault(f"{_WHERE}.source.httpGet", "an HTTP source", "only with PrometheusMetric")
    if spec.source.file_system_path is not None:
        yield Fault(
            f"{_WHERE}.source.fileSystemPath", "a file source", "nothing: StdOut reads no file"
        )
    for index, text in enumerate(spec.source.filter.metrics_format if spec.source.filter else ()):
        path = f"{_WHERE}.source.filter.metricsFormat[{index}]"
        try:
            groups = compile_filter(text).groups
        except ValueError as error:
            yield Fault(path, f'"{text}"', f"a regular expression in RE2's syntax ({error})")
            continue
        if groups < 2:
            yield Fault(path, f'"{text}"', "two groups at least: the metric's name, then its value")


def _objective_faults(parts: Parts) -> Iterator[Fault]:
    objective = parts.objective
    if objective is None:
        return
    where = "spec.objective"
    if objective.objective_metric_name in objective.additional_metric_names:
        yield Fault(
            f"{where}.additionalMetricNames",
            f'"{objective.objective_metric_name}"',
            "metrics other than objectiveMetricName",
        )
    seen: set[str] = set()
    for index, strategy in enumerate(objective.metric_strategies):
        path = f"{where}.metricStrategies[{index}].name"
        if strategy.name not in objective.metric_names:
            yield Fault(path, f'"{strategy.name}"', ", ".join(objective.metric_names))
        if strategy.name in seen:
            yield Fault(path, f'"{strategy.name}" again', "each metric once")
        seen.add(strategy.name)
