"""Asks for a trial's page of metrics again and again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from katibflow.collectors.sources import PageReader
from katibflow.runners.base import Event, MetricLine, SourceNote

__all__ = ["NoPage", "Scraper"]

_PATIENCE = 10.0


class NoPage(Exception):
    """The page was not to be had this time; the text says why."""


class Scraper:
    """Asks for a page in a thread of its own, until it is closed.

    Args:
        fetch: Returns the page, or raises `NoPage`.
        reader: Makes lines of the pages.
        period: Seconds from one answer to the next request.
        wake: Called when there are new lines.
    """

    def __init__(
        self,
        fetch: Callable[[], str],
        reader: PageReader,
        period: float,
        wake: Callable[[], None],
    ) -> None:
        self._fetch = fetch
        self._reader = reader
        self._period = period
        self._wake = wake
        self._lines: deque[str] = deque()
        self._asked = self._answered = 0
        self._failure = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scrape", daemon=True)

    def start(self) -> None:
        """Begins to ask."""
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._asked += 1
            try:
                page = self._fetch()
            except NoPage as error:
                self._failure = str(error)
            else:
                self._answered += 1
                lines = self._reader.feed(page, time.time())
                self._lines.extend(lines)
                if lines:
                    self._wake()
            self._closed.wait(self._period)

    def take(self) -> list[Event]:
        """What is new, from any thread."""
        events: list[Event] = []
        while self._lines:
            events.append(MetricLine(self._lines.popleft()))
        return events

    def rest(self) -> Iterator[Event]:
        """Ends the asking; what is left, and what explains that nothing came."""
        self.close()
        yield from self.take()
        failure = f"; the last failure: {self._failure}" if self._failure else ""
        yield SourceNote(
            f"the page was asked for {self._asked} times and came {self._answered} times{failure}"
        )
        yield from map(SourceNote, self._reader.account())

    def close(self) -> None:
        """Stops asking; returns when no request is on its way, or it takes too long."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)
