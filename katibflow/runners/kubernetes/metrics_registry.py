"""How each kind of source of metrics is served in a cluster, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from katibflow.collectors.sources import Endpoint, Files, SideContainer, Source
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.metrics_sidecar import (
    add_container,
    add_port,
    add_reader,
    primary_of,
)
from katibflow.runners.kubernetes.metrics_sources import (
    Failed,
    PodSource,
    Tell,
    no_source,
    read_files,
    read_page,
    read_printed,
)

__all__ = ["READINGS", "Reading", "add_source", "source_of"]


@dataclass(frozen=True)
class Reading:
    """What one kind of source needs.

    Attributes:
        add: Adds to a pod's spec, given the primary container and the source, what it takes.
        read: Makes what reads the source.
    """

    add: Callable[[dict[str, Any], dict[str, Any], Any], None]
    read: Callable[[Api, Any, Tell, Callable[[], None], Failed], PodSource]


READINGS: Mapping[type[Source], Reading] = {
    Files: Reading(add_reader, read_files),
    Endpoint: Reading(add_port, read_page),
    SideContainer: Reading(add_container, read_printed),
}
"""By the source's type."""


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
        READINGS[type(source)].add(pod, container, source)


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
    return READINGS[type(source)].read(api, source, tell, done, failed)
