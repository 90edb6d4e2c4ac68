"""The table of the kinds of metrics sources: how each is added to a job, and how it is read."""

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
    """The two functions that serve one kind of source.

    Attributes:
        add: Adds what the source needs to a pod's spec, given the primary container.
        read: Makes the reader of the source.
    """

    add: Callable[[dict[str, Any], dict[str, Any], Any], None]
    read: Callable[[Api, Any, Tell, Callable[[], None], Failed], PodSource]


READINGS: Mapping[type[Source], Reading] = {
    Files: Reading(add_reader, read_files),
    Endpoint: Reading(add_port, read_page),
    SideContainer: Reading(add_container, read_printed),
}
"""Type of a source to its functions."""


def add_source(body: dict[str, Any], source: Source | None, primary: str | None) -> None:
    """Adds the parts to a job's object by which its metrics can be read.

    Args:
        body: The object; it is changed.
        source: Source of the metrics.
        primary: Name of the primary container; None: the only container.

    Raises:
        InputError: The source cannot be added to the object.
    """
    if source is not None:
        pod, container = primary_of(body, primary)
        READINGS[type(source)].add(pod, container, source)


def source_of(
    api: Api, source: Source | None, tell: Tell, done: Callable[[], None], failed: Failed
) -> PodSource:
    """Returns the reader of a trial's source.

    Args:
        api: Requests in the namespace.
        source: Source of the metrics.
        tell: Called with each event, from any thread; it may block.
        done: Called once everything is read, after the last call of `PodSource.end`.
        failed: Called if nothing can be read at all.
    """
    if source is None:
        return no_source(done)
    return READINGS[type(source)].read(api, source, tell, done, failed)
