"""Reads a trial's metrics on this machine from files, pages and the observer's output."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Protocol

from katibflow.collectors.scraping import Scraper
from katibflow.collectors.sources import (
    METRICS_PORT,
    Endpoint,
    FileReader,
    Files,
    NoPage,
    SideContainer,
)
from katibflow.runners.events import Event, MetricLine, SourceNote
from katibflow.runners.local.attempt import Attempt
from katibflow.runners.local.lines import LogTail
from katibflow.runners.local.manifest import JobPlan
from katibflow.runners.local.metrics_folders import place_of
from katibflow.runners.local.ports import listener_of
from katibflow.runners.local.processes import describe_exit
from katibflow.runners.local.trial_folder import TrialFolder

__all__ = ["LocalSource", "opened"]

SCRAPE_PERIOD = 0.5
"""Seconds between two requests; a value that lasts shorter may be missed."""

_SCRAPE_TIMEOUT = 5.0
_LARGEST_PAGE = 16 << 20
_CHUNK = 262_144


class LocalSource(Protocol):
    """Reads a running job's source of metrics."""

    def read(self) -> tuple[Sequence[Event], bool]:
        """Returns the events so far, and whether there may be more at once."""

    def rest(self) -> Iterator[Event]:
        """Yields all events up to the end, once nothing is written any more."""


@contextmanager
def opened(
    plan: JobPlan,
    folder: TrialFolder,
    attempt: Attempt,
    wake: Callable[[], None] = lambda: None,
    is_over: bool = False,
) -> Iterator[LocalSource]:
    """Opens the plan's source of metrics.

    Args:
        plan: The replicas of the job.
        folder: The trial's folder.
        attempt: The job's state on disk.
        wake: Called when there is something to read that is in no file.
        is_over: Whether the job has ended.
    """
    source = plan.source
    match source:
        case None:
            yield _Nothing()
        case Endpoint():
            page = _Page(source, folder, attempt, wake)
            if not is_over:
                page.scraper.start()
            try:
                yield page
            finally:
                page.scraper.close()
        case Files() | SideContainer():
            place = place_of(attempt.folder, plan, plan.replicas[0].name)
            place.mkdir(exist_ok=True)
            with _reading(plan, place, folder.log(plan.observer), attempt) as reading:
                yield reading


@contextmanager
def _reading(plan: JobPlan, place: Path, log: Path, attempt: Attempt) -> Iterator[LocalSource]:
    source = plan.source
    if isinstance(source, Files) and source.reader is not None:
        yield _FolderReading(source, source.reader(), place)
        return
    path = log
    if isinstance(source, Files):
        path = place / PurePosixPath(source.path).name
    tail = LogTail(path)
    try:
        yield _TextReading(plan, path, tail, attempt)
    finally:
        tail.close()


class _Nothing:
    def read(self) -> tuple[Sequence[Event], bool]:
        return (), False

    def rest(self) -> Iterator[Event]:
        return iter(())


class _TextReading:
    """Reads a text file, or the output of the observer."""

    def __init__(self, plan: JobPlan, path: Path, tail: LogTail, attempt: Attempt) -> None:
        self._plan = plan
        self._path = path
        self._tail = tail
        self._attempt = attempt

    def read(self) -> tuple[Sequence[Event], bool]:
        lines, more = self._tail.read()
        return [MetricLine(line) for line in lines], more

    def rest(self) -> Iterator[Event]:
        yield from map(MetricLine, self._tail.rest())
        if self._plan.observer:
            code = self._attempt.exit_code(self._plan.observer)
            if code:
                yield SourceNote(f"{self._plan.observer} {describe_exit(code)}")
        elif not self._path.exists():
            assert isinstance(self._plan.source, Files)
            yield _absent("file", self._path, self._plan.source.path)
        elif not self._path.stat().st_size:
            yield SourceNote(f"the file {self._path} is empty")


def _absent(what: str, place: Path, path: str) -> SourceNote:
    return SourceNote(
        f"there is no {what} {place}, which stands for {path} on this machine; the program must "
        "take the path from its command, args or env, where it is replaced"
    )


class _FolderReading:
    """Reads the files in a folder and below it."""

    def __init__(self, files: Files, reader: FileReader, place: Path) -> None:
        self._files = files
        self._reader = reader
        self._place = place
        self._offsets: dict[str, int] = {}

    def read(self) -> tuple[Sequence[Event], bool]:
        events: list[Event] = []
        more = False
        for path in self._paths():
            name = path.relative_to(self._place).as_posix()
            offset = self._offsets.setdefault(name, 0)
            try:
                if path.stat().st_size <= offset:
                    continue
                with path.open("rb") as file:
                    file.seek(offset)
                    data = file.read(_CHUNK)
            except OSError:  # it is gone again
                continue
            self._offsets[name] = offset + len(data)
            more = more or len(data) == _CHUNK
            events += map(MetricLine, self._reader.feed(name, data))
        return events, more

    def _paths(self) -> Iterator[Path]:
        for root, folders, names in os.walk(self._place):
            folders.sort()
            for name in sorted(names):
                if fnmatch(name, self._files.names):
                    yield Path(root, name)

    def rest(self) -> Iterator[Event]:
        more = True
        while more:
            events, more = self.read()
            yield from events
        if self._offsets:
            yield from map(SourceNote, self._reader.account())
        else:
            yield _absent(f"file {self._files.names} in", self._place, self._files.path)


class _Page:
    """Reads the page of metrics, at the trial's own port or else at the one in the file."""

    def __init__(
        self, source: Endpoint, folder: TrialFolder, attempt: Attempt, wake: Callable[[], None]
    ) -> None:
        self._source = source
        self._folder = folder
        self._own = attempt.metrics_port
        self._samples = attempt.folder / "samples.prom"
        self._earlier = self._samples.read_text("utf-8") if self._samples.exists() else ""
        self.scraper = Scraper(source.reader(), self._fetch, SCRAPE_PERIOD, wake)
        self.scraper.mark_known(self._earlier)

    def read(self) -> tuple[Sequence[Event], bool]:
        return self._told(), False

    def rest(self) -> Iterator[Event]:
        self.scraper.close()
        yield from self._told()
        yield from map(SourceNote, self.scraper.account())

    def _told(self) -> Sequence[Event]:
        """Returns new lines and appends them to a file; those of an earlier process come first."""
        before, self._earlier = self._earlier.splitlines(), ""
        lines = self.scraper.take()
        if lines:
            with self._samples.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
        return [MetricLine(line) for line in (*before, *lines)]

    def _fetch(self) -> str:
        try:
            return _get(self._own, self._source.path)
        except ConnectionRefusedError:
            pass
        port = self._source.port
        where = f"port {self._own} (${METRICS_PORT}) or {port}"
        holder = listener_of(self._folder.path, port)
        if holder is None:
            raise NoPage(f"no process of the trial listens on {where}")
        if not holder:
            raise NoPage(
                f"another process than the trial's listens on port {port}; trials at the same "
                f"time need ports of their own: let the program take it from ${METRICS_PORT}"
            )
        try:
            return _get(port, self._source.path)
        except ConnectionRefusedError as error:
            raise NoPage(f"nobody listens on {where}") from error


def _get(port: int, path: str) -> str:
    """Returns the page; raises ConnectionRefusedError if nobody listens."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SCRAPE_TIMEOUT)
    try:
        connection.request("GET", path, headers={"Accept": "text/plain;version=0.0.4"})
        response = connection.getresponse()
        data = response.read(_LARGEST_PAGE)
    except ConnectionRefusedError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise NoPage(f"port {port}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise NoPage(f"port {port}, {path}: the answer is {response.status} {response.reason}")
    return data.decode("utf-8", "replace")
