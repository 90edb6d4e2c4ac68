"""Defines `Kind`, one kind of metrics collector, and reads and checks parts of its specification.

The module of a format holds its kind: the function that makes the collector, the source of the
lines, the faults of the specification, and the packages that the format needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from posixpath import normpath

from katibflow.collectors.base import Collector
from katibflow.collectors.sources import Source
from katibflow.errors import Fault
from katibflow.experiment.types import CollectorSource, FileSystemPath, MetricsCollectorSpec

__all__ = ["PATH", "WHERE", "Kind", "file_of", "filters_of", "path_faults", "section_of"]

WHERE = "spec.metricsCollectorSpec"

PATH = f"{WHERE}.source.fileSystemPath"


def _nothing(spec: MetricsCollectorSpec, names: Sequence[str]) -> None:
    return None


def _no_faults(spec: MetricsCollectorSpec) -> Iterator[Fault]:
    return iter(())


@dataclass(frozen=True)
class Kind:
    """Describes one kind of metrics collector.

    Attributes:
        collector: Makes a new collector from the specification and the metrics' names.
        source: Returns the source that a runner reads, or None for the primary container's output.
        faults: Yields the faults of a specification. Fields that Katib accepts and ignores are
            accepted and ignored here too.
        packages: Further packages that the reading needs, as ``katibflow/steps/pins.json`` has
            them. A pipeline's steps that read trials install them; they are imported at their
            first use.
        reads_text: Returns whether text filters read the lines of a specification; by default they
            do not.
    """

    collector: Callable[[MetricsCollectorSpec, Sequence[str]], Collector]
    source: Callable[[MetricsCollectorSpec, Sequence[str]], Source | None] = _nothing
    faults: Callable[[MetricsCollectorSpec], Iterator[Fault]] = _no_faults
    packages: tuple[str, ...] = ()
    reads_text: Callable[[MetricsCollectorSpec], bool] = lambda spec: False


def section_of(spec: MetricsCollectorSpec) -> CollectorSource:
    """Returns ``source``, or an empty one if it is left out."""
    return spec.source or CollectorSource()


def file_of(spec: MetricsCollectorSpec) -> FileSystemPath:
    """Returns ``source.fileSystemPath``, or an empty one if it is left out."""
    return section_of(spec).file_system_path or FileSystemPath()


def filters_of(spec: MetricsCollectorSpec) -> Sequence[str]:
    """Returns the filters that the user gave, if there are any."""
    given = section_of(spec).filter
    return given.metrics_format if given else ()


def path_faults(path: str | None) -> Iterator[Fault]:
    """Yields the faults of the path of a file or folder."""
    if path and (not path.startswith("/") or normpath(path) in ("/", "//")):
        yield Fault(f"{PATH}.path", f'"{path}"', "an absolute path in the container, below /")
    elif path and ".." in path.split("/"):
        yield Fault(f"{PATH}.path", f'"{path}"', "an absolute path in the container, without ..")
