"""The sources of metrics besides the primary container's output: files, pages, other containers."""

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
"""Variable with the port on which the primary container must serve its page of metrics."""


class FileReader(Protocol):
    """Turns the bytes of growing files into lines for a collector."""

    def feed(self, name: str, data: bytes) -> list[str]:
        """Returns the lines that more bytes of a file complete.

        Args:
            name: The file's path below the folder.
            data: The bytes that follow those of earlier calls.
        """

    def account(self) -> Sequence[str]:
        """Returns explanations for a metric that did not come."""


class PageReader(Protocol):
    """Turns a page that is requested periodically into lines for a collector."""

    def feed(self, page: str, now: float) -> list[str]:
        """Returns the lines that are new on a page; ``now`` is in seconds since the epoch."""

    def account(self) -> Sequence[str]:
        """Returns explanations for a metric that did not come."""


class NoPage(Exception):
    """A page could not be read this time; the text says why."""


@dataclass(frozen=True)
class Files:
    """A text file of the primary container, or the files in one of its folders.

    Attributes:
        path: Absolute path in the container.
        names: Pattern of the files to read in and below the folder; empty: ``path`` is a file.
        reader: Makes the reader of a folder's files; None: the lines of the one file go to the
            collector unchanged.
        image: Image of the container that copies files out of a pod; it has a shell and base64.
    """

    path: str
    names: str = ""
    reader: Callable[[], FileReader] | None = None
    image: str = ""

    @property
    def folder(self) -> str:
        """Returns the folder that is read."""
        path = PurePosixPath(self.path)
        return str(path if self.names else path.parent)


@dataclass(frozen=True)
class Endpoint:
    """A page of metrics that the primary container serves.

    Attributes:
        path: Path of the page, with a slash in front.
        port: Port of the container.
        reader: Makes the reader of one trial's page.
    """

    path: str
    port: int
    reader: Callable[[], PageReader]


@dataclass(frozen=True)
class SideContainer:
    """A container that runs beside the primary one and prints the metrics.

    Attributes:
        container: The container as the Experiment has it.
        files: Files of the primary container that it can read, or None.
    """

    container: Mapping[str, Any] = field(repr=False)
    files: Files | None = None


Source = Files | Endpoint | SideContainer
