"""What a runner reads beside the primary container's output, for the collectors that want it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol

__all__ = [
    "METRICS_PORT",
    "Endpoint",
    "FileReader",
    "Files",
    "NoPage",
    "PageReader",
    "SideContainer",
    "Source",
]

METRICS_PORT = "KATIBFLOW_METRICS_PORT"
"""Variable with the port on which the primary container is to serve its page of metrics."""


class FileReader(Protocol):
    """Makes lines for a collector of the bytes of files that grow."""

    def feed(self, name: str, data: bytes) -> list[str]:
        """The lines that more bytes of a file complete.

        Args:
            name: The file's path below the folder.
            data: What follows the bytes of earlier calls.
        """

    def account(self) -> Sequence[str]:
        """What explains that a metric did not come."""


class PageReader(Protocol):
    """Makes lines for a collector of a page that is asked for again and again."""

    def feed(self, page: str, now: float) -> list[str]:
        """The lines that are new on a page; ``now`` in seconds since the epoch."""

    def account(self) -> Sequence[str]:
        """What explains that a metric did not come."""


class NoPage(Exception):
    """A page was not to be had this time; the text says why."""


@dataclass(frozen=True)
class Files:
    """A text file of the primary container, or the files in a folder of it.

    Attributes:
        path: Absolute, in the container.
        names: Pattern of the files that count, in the folder and below it; empty: it is a file.
        reader: Makes what reads the files of a folder; None: each line of the one file counts as
            it is.
        image: What copies them out of a pod: an image with a shell and base64.
    """

    path: str
    names: str = ""
    reader: Callable[[], FileReader] | None = None
    image: str = ""

    @property
    def folder(self) -> str:
        """The folder that is read."""
        path = PurePosixPath(self.path)
        return str(path if self.names else path.parent)


@dataclass(frozen=True)
class Endpoint:
    """A page of metrics that the primary container serves.

    Attributes:
        path: With a slash in front.
        port: The container's.
        reader: Makes what reads the page, for one trial.
    """

    path: str
    port: int
    reader: Callable[[], PageReader]


@dataclass(frozen=True)
class SideContainer:
    """A container that runs beside the primary one and prints the metrics.

    Attributes:
        container: As in the Experiment.
        files: What of the primary container it is to see, if anything.
    """

    container: Mapping[str, Any] = field(repr=False)
    files: Files | None = None


Source = Files | Endpoint | SideContainer
