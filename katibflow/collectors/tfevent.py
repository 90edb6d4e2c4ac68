"""The collector TensorFlowEvent: it reads TensorBoard's event files without TensorFlow.

A runner gives the bytes of the growing files to `EventFiles`. That class returns lines, one JSON
object for each scalar, and the collector reads these lines.

Source: ``pkg/metricscollector/v1beta1/tfevent-metricscollector/tfevent_loader.py`` in Katib.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from posixpath import basename, dirname, normpath

from katibflow.collectors.base import Collector, time_of
from katibflow.collectors.event_messages import EVENT_PACKAGES, checksum, scalars
from katibflow.collectors.kind import PATH, Kind, file_of, path_faults
from katibflow.collectors.sources import Files
from katibflow.errors import Fault
from katibflow.experiment.types import MetricsCollectorSpec
from katibflow.study.history import Point

__all__ = ["EVENT_FILES", "TENSORFLOW_EVENT", "EventCollector", "EventFiles"]

EVENT_FILES = "*tfevents*"
"""Pattern of the names of TensorBoard's event files; other files in the folder are ignored."""

_DEFAULT_FOLDER = "/var/log/katib/tfevent"

_LONGEST_RECORD = 1 << 20
"""Bytes; longer records hold images or a graph, and are skipped."""

_TAGS_KEPT = 20


class _File:
    def __init__(self) -> None:
        self.rest = bytearray()
        self.skip = 0
        self.read = 0
        self.is_damaged = False


class EventFiles:
    """Turns the bytes of event files into lines."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._damages: list[str] = []

    def feed(self, name: str, data: bytes) -> list[str]:
        """Returns the scalars that more bytes of a file complete, one JSON object each.

        Args:
            name: The file's path below the folder.
            data: The bytes that follow those of earlier calls.
        """
        file = self._files.setdefault(name, _File())
        if file.is_damaged:
            return []
        lines: list[str] = []
        file.rest += data
        try:
            while (record := self._record(file)) is not None:
                for scalar in scalars(record) if record else ():
                    told = {
                        "file": name,
                        "tag": scalar.tag,
                        "step": scalar.step,
                        "value": scalar.value,
                        "time": scalar.time,
                    }
                    lines.append(json.dumps(told, ensure_ascii=False))
        except ValueError as error:
            file.is_damaged = True
            file.rest.clear()
            self._damages.append(f"{name} is damaged at byte {file.read}: {error}")
        return lines

    def account(self) -> list[str]:
        """Returns explanations for a metric that did not come."""
        return self._damages or [f"the event files are {', '.join(sorted(self._files)) or 'none'}"]

    def _record(self, file: _File) -> bytes | None:
        """Returns the file's next record; empty if it is too long, None if it is incomplete."""
        if file.skip:
            taken = min(file.skip, len(file.rest))
            del file.rest[:taken]
            file.skip -= taken
            file.read += taken
            return None if file.skip else b""
        if len(file.rest) < 12:
            return None
        size, check = struct.unpack_from("<QI", file.rest)
        if checksum(file.rest[:8]) != check:
            raise ValueError("a record's length does not match its checksum")
        if size > _LONGEST_RECORD:
            file.skip = size + 16
            return b""
        if len(file.rest) < size + 16:
            return None
        record = bytes(file.rest[12 : 12 + size])
        (check,) = struct.unpack_from("<I", file.rest, 12 + size)
        if checksum(record) != check:
            raise ValueError("a record does not match its checksum")
        del file.rest[: size + 16]
        file.read += size + 16
        return record


class EventCollector(Collector):
    """Reads the lines of `EventFiles`.

    A metric's name is a tag, or ``<folder>/<tag>`` as in Katib, and the beginning of a tag is
    enough. When several tags begin with the name, the tag of exactly that name counts, or else
    the first one.

    Args:
        metrics: Names of the metrics, the objective's first.
        location: Folder of the files.
    """

    reads_output = False

    def __init__(self, metrics: Sequence[str], location: str) -> None:
        super().__init__(metrics)
        self._location = location.rstrip("/")

    def begin(self) -> None:
        """Forgets what was read, as the trial begins (anew)."""
        super().begin()
        self._chosen: dict[str, tuple[int, str]] = {}
        self._tags: dict[str, None] = {}

    def feed(self, line: str) -> tuple[tuple[str, Point], ...]:
        """Reads one line and returns the reports in it."""
        self._lines += 1
        data = json.loads(line)
        folder = dirname(f"{self._location}/{data['file']}")
        tag = data["tag"]
        if len(self._tags) < _TAGS_KEPT:
            self._tags[dirname(data["file"]) + "/" + tag if "/" in data["file"] else tag] = None
        reports = []
        for name in self._series:
            rank = _rank(name, folder, tag)
            best = self._chosen.get(name, (0, ""))
            if rank > best[0]:
                self._chosen[name] = best = (rank, tag)
                self._series[name].clear()
            if rank and (rank, tag) == best:
                epoch = max(data["step"], 0)
                reports.append(self._point(name, data["value"], time_of(data["time"]), epoch))
        return tuple(reports)

    def _searched(self) -> str:
        tags = f"; their tags are {', '.join(self._tags)}" if self._tags else ""
        return f"{self._lines} scalars were read from event files in {self._location}{tags}"


def _rank(name: str, folder: str, tag: str) -> int:
    """Returns how well a metric's name fits a tag: 2 exactly, 1 as its beginning, 0 not at all."""
    if tag == name:
        return 2
    if "/" in name and not folder.endswith(dirname(name)):
        return 0
    last = basename(name)
    return 2 if tag == last else int(tag.startswith(last))


def _folder(spec: MetricsCollectorSpec) -> str:
    return normpath(file_of(spec).path or _DEFAULT_FOLDER)


def _collector(spec: MetricsCollectorSpec, names: Sequence[str]) -> EventCollector:
    return EventCollector(names, _folder(spec))


def _source(spec: MetricsCollectorSpec, names: Sequence[str]) -> Files:
    return Files(_folder(spec), EVENT_FILES, EventFiles)


def _faults(spec: MetricsCollectorSpec) -> Iterator[Fault]:
    given = file_of(spec)
    if given.kind not in (None, "Directory"):
        yield Fault(f"{PATH}.kind", f'"{given.kind}"', "Directory, for TensorFlowEvent")
    yield from path_faults(given.path)
    if given.format is not None:
        yield Fault(f"{PATH}.format", f'"{given.format}"', "nothing: event files have one format")


TENSORFLOW_EVENT = Kind(_collector, _source, _faults, EVENT_PACKAGES)
