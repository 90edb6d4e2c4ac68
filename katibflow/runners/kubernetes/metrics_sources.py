"""Reads a trial's metrics from logs of other containers, and from pages of the primary one."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from katibflow.collectors.scraping import Scraper
from katibflow.collectors.sources import Endpoint, FileReader, Files, NoPage, SideContainer
from katibflow.errors import RunnerError
from katibflow.runners.events import Event, MetricLine, SourceNote
from katibflow.runners.kubernetes.api import Api, ApiError, Lost
from katibflow.runners.kubernetes.logs import LogReader
from katibflow.runners.kubernetes.metrics_sidecar import READER
from katibflow.runners.kubernetes.pods import Container, Pod

__all__ = [
    "SCRAPE_PERIOD",
    "Failed",
    "PodSource",
    "Tell",
    "no_source",
    "read_files",
    "read_page",
    "read_printed",
]

SCRAPE_PERIOD = 5.0
"""Seconds between two requests; a value that lasts shorter may be missed."""

_LARGEST_PAGE = 16 << 20
_BEGINNING = f"{READER} of "

Tell = Callable[[Event], None]
Done = Callable[[], None]
Failed = Callable[[RunnerError], None]


class PodSource(Protocol):
    """Reads a running trial's source of metrics."""

    def pod_changed(self, pod: Pod, primary: Container) -> None:
        """Takes a change of a primary pod and its primary container."""

    def end(self, pod: str | None = None) -> None:
        """Ends a pod's part of the source; without a pod, reads the rest as nothing more comes."""

    def cancel(self) -> None:
        """Stops reading; returns once no thread reads any more."""


class _Nothing:
    def __init__(self, done: Done) -> None:
        self._done = done

    def pod_changed(self, pod: Pod, primary: Container) -> None:
        pass

    def end(self, pod: str | None = None) -> None:
        if pod is None:
            self._done()

    def cancel(self) -> None:
        pass


class _Printed:
    """Passes the lines of a side container on unchanged."""

    def feed(self, line: str) -> Iterable[str]:
        return (line,)

    def account(self) -> Iterable[str]:
        return ()


class _Lines(_Printed):
    """Decodes the log of the container that follows a text file; a restart begins the file anew."""

    def __init__(self, files: Files) -> None:
        self._path = files.path
        self._pod = ""
        self._delivered = 0
        self._skip = 0
        self._is_empty = True

    def feed(self, line: str) -> Iterable[str]:
        if line.startswith(_BEGINNING):
            if line != self._pod:
                self._pod, self._delivered = line, 0
            self._skip = self._delivered
            return ()
        self._is_empty = False
        if self._skip:
            self._skip -= 1
            return ()
        self._delivered += 1
        return (line,)

    def account(self) -> Iterable[str]:
        if self._is_empty:
            where = "in the primary container, or it is empty"
            yield f"there is no file {self._path} {where}"


class _Copies(_Printed):
    """Decodes the log of the container that copies files: offset, base64 and name in each line."""

    def __init__(self, files: Files) -> None:
        assert files.reader is not None
        self._files = files
        self._make = files.reader
        self._reader: FileReader = self._make()
        self._pod = ""
        self._offsets: dict[str, int] = {}
        self._is_empty = True

    def feed(self, line: str) -> Iterable[str]:
        if line.startswith(_BEGINNING):
            if line != self._pod:
                self._pod, self._reader = line, self._make()
                self._offsets.clear()
            return ()
        offset, _, rest = line.partition(" ")
        text, _, name = rest.partition(" ")
        try:
            at, data = int(offset), base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            return ()
        known = self._offsets.get(name, 0)
        if at > known or at + len(data) <= known:
            return ()
        self._is_empty = False
        self._offsets[name] = at + len(data)
        return self._reader.feed(name, data[known - at :])

    def account(self) -> Iterable[str]:
        if self._is_empty:
            return (
                f"there is no file {self._files.names} in {self._files.path}, or all are empty",
            )
        return self._reader.account()


class _Log:
    """Reads the log of a container beside the primary one."""

    def __init__(
        self,
        api: Api,
        container: str,
        reader: _Printed,
        tell: Tell,
        done: Done,
        failed: Failed,
    ) -> None:
        self._container = container
        self._reader = reader
        self._tell = tell
        self._log = LogReader(api, self._deliver, self._finish, failed)
        self._failed = failed
        self._done = done

    def _deliver(self, line: str, position: str) -> None:
        for text in self._reader.feed(line):
            self._tell(MetricLine(text))

    def _finish(self) -> None:
        _apart(self._account)

    def _account(self) -> None:
        for text in self._reader.account():
            self._tell(SourceNote(text))
        self._done()

    def pod_changed(self, pod: Pod, primary: Container) -> None:
        container = pod.container(self._container)
        if container is None:
            return
        if container.name == READER and container.init:
            self._failed(
                RunnerError(
                    f"pod {pod.name}: its container {READER} was made an ordinary init container, "
                    "which would keep the others from starting; metrics in files need native "
                    "sidecars: Kubernetes 1.29, and an operator whose CustomResourceDefinition "
                    "knows restartPolicy of init containers; or print the metrics (StdOut, Push)"
                )
            )
            return
        self._log.read(pod, container)

    def end(self, pod: str | None = None) -> None:
        self._log.end(pod)

    def cancel(self) -> None:
        self._log.cancel()


class _Page:
    """Reads the primary container's page of metrics, through the API server's proxy."""

    def __init__(
        self,
        api: Api,
        source: Endpoint,
        tell: Tell,
        done: Done,
        failed: Failed,
    ) -> None:
        self._api = api
        self._source = source
        self._tell = tell
        self._done = done
        self._failed = failed
        self._pod = ""
        self._is_ended = False
        self._scraper = Scraper(source.reader(), self._fetch, SCRAPE_PERIOD, self._hand_on)

    def pod_changed(self, pod: Pod, primary: Container) -> None:
        if primary.state != "running":
            return
        begins = not self._pod
        self._pod = pod.name
        if begins:
            self._scraper.start()

    def end(self, pod: str | None = None) -> None:
        if pod is None and not self._is_ended:
            self._is_ended = True
            _apart(self._finish)

    def _finish(self) -> None:
        self._scraper.close()
        self._hand_on()
        for text in self._scraper.account():
            self._tell(SourceNote(text))
        self._done()

    def cancel(self) -> None:
        self._scraper.close()

    def _hand_on(self) -> None:
        for line in self._scraper.take():
            self._tell(MetricLine(line))

    def _fetch(self) -> str:
        path = self._api.path("v1", "pods", f"{self._pod}:{self._source.port}", "proxy")
        try:
            stream = self._api.stream(path + self._source.path, {})
            try:
                return "\n".join(_up_to(_LARGEST_PAGE, stream.lines()))
            finally:
                stream.close()
        except ApiError as error:
            if error.status in (401, 403):
                self._failed(error)
            raise NoPage(str(error)) from error
        except Lost as error:
            raise NoPage(str(error)) from error


def no_source(done: Done) -> PodSource:
    """Returns a reader that reads nothing."""
    return _Nothing(done)


def read_files(api: Api, source: Files, tell: Tell, done: Done, failed: Failed) -> PodSource:
    """Returns the reader of a text file's lines, or of a folder's files."""
    reader = _Lines(source) if source.reader is None else _Copies(source)
    return _Log(api, READER, reader, tell, done, failed)


def read_printed(
    api: Api, source: SideContainer, tell: Tell, done: Done, failed: Failed
) -> PodSource:
    """Returns the reader of what a container of the user's prints."""
    return _Log(api, source.container["name"], _Printed(), tell, done, failed)


def read_page(api: Api, source: Endpoint, tell: Tell, done: Done, failed: Failed) -> PodSource:
    """Returns the reader of the page that the primary container serves."""
    return _Page(api, source, tell, done, failed)


def _apart(do: Callable[[], None]) -> None:
    """Calls a function in a thread, as its caller may be the thread that takes the events."""
    threading.Thread(target=do, name="source", daemon=True).start()


def _up_to(limit: int, lines: Iterable[tuple[str, bool]]) -> Iterator[str]:
    size = 0
    for line, _ in lines:
        size += len(line)
        if size > limit:
            return
        yield line
