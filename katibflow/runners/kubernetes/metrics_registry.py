"""How each kind of metrics collector is served in a cluster, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from katibflow.collectors.sources import Source
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.metrics_sidecar import (
    add_container,
    add_copier,
    add_follower,
    add_port,
    primary_of,
)
from katibflow.runners.kubernetes.metrics_sources import (
    Failed,
    PodSource,
    Tell,
    no_source,
    read_copies,
    read_lines,
    read_page,
    read_printed,
)

__all__ = ["READINGS", "Reading", "add_source", "source_of"]


@dataclass(frozen=True)
class Reading:
    """What one kind needs.

    Attributes:
        add: Adds to a pod's spec, given the primary container and the source, what it takes.
        read: Makes what reads the source.
    """

    add: Callable[[dict[str, Any], dict[str, Any], Any], None]
    read: Callable[[Api, Any, Tell, Callable[[], None], Failed], PodSource]


READINGS: Mapping[str, Reading] = {
    "File": Reading(add_follower, read_lines),
    "TensorFlowEvent": Reading(add_copier, read_copies),
    "PrometheusMetric": Reading(add_port, read_page),
    "Custom": Reading(add_container, read_printed),
}
"""By Katib's name. Every entry stands on a line of its own, as in `collectors.kinds`."""


def add_source(body: dict[str, Any], source: Source | None, primary: str | None) -> None:
    """Adds to a job's object what lets its metrics be read.

    Args:
        body: The object; it is changed.
        source: Where the metrics are.
        primary: Name of the primary container; None: the only one.

    Raises:
        InputError: The object has no place for it.
    """
    if source is not None:
        pod, container = primary_of(body, primary)
        READINGS[source.collector].add(pod, container, source)


def source_of(
    api: Api, source: Source | None, tell: Tell, done: Callable[[], None], failed: Failed
) -> PodSource:
    """The reader of a trial's source.

    Args:
        api: The namespace.
        source: Where the metrics are.
        tell: Takes each event, from any thread; may block.
        done: Called when all is read, once `PodSource.end` was called for good.
        failed: Called when nothing can be read at all.
    """
    if source is None:
        return no_source(done)
    return READINGS[source.collector].read(api, source, tell, done, failed)
