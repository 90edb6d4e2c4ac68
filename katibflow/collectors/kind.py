"""What a kind of metrics collector is, and how its specification is read.

Each kind stands in the module of its format, with all that is particular to it: what makes the
collector, where its lines come from, what its specification may say, and what has to be installed.
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
    """One kind of metrics collector.

    Attributes:
        collector: Makes a new one: from the specification and the metrics' names.
        source: Returns what a runner reads for it; None: the primary container's output.
        faults: Says what is wrong with a specification. What Katib accepts and passes over is
            accepted and passed over.
        packages: What reading takes besides the library, as pip knows it, with its version: the
            steps of a pipeline that read trials install it. It is imported only when it is used.
    """

    collector: Callable[[MetricsCollectorSpec, Sequence[str]], Collector]
    source: Callable[[MetricsCollectorSpec, Sequence[str]], Source | None] = _nothing
    faults: Callable[[MetricsCollectorSpec], Iterator[Fault]] = _no_faults
    packages: tuple[str, ...] = ()


def section_of(spec: MetricsCollectorSpec) -> CollectorSource:
    """Returns ``source``, empty if it is left out."""
    return spec.source or CollectorSource()


def file_of(spec: MetricsCollectorSpec) -> FileSystemPath:
    """Returns ``source.fileSystemPath``, empty if it is left out."""
    return section_of(spec).file_system_path or FileSystemPath()


def filters_of(spec: MetricsCollectorSpec) -> Sequence[str]:
    """Returns the user's own filters, if there are any."""
    given = section_of(spec).filter
    return given.metrics_format if given else ()


def path_faults(path: str | None) -> Iterator[Fault]:
    """Says what is wrong with the path of a file or folder."""
    if path and (not path.startswith("/") or normpath(path) in ("/", "//")):
        yield Fault(f"{PATH}.path", f'"{path}"', "an absolute path in the container, below /")
