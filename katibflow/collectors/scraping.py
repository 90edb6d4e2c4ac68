"""Requests a trial's page of metrics periodically, in a thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from katibflow.collectors.sources import NoPage, PageReader

__all__ = ["Scraper"]

_PATIENCE = 10.0


class Scraper:
    """Requests a page in a thread of its own until it is closed.

    Args:
        reader: Turns the pages into lines.
        fetch: Returns the page, or raises `NoPage`.
        period: Seconds from one answer to the next request.
        wake: Called after new lines have arrived.
    """

    def __init__(
        self,
        reader: PageReader,
        fetch: Callable[[], str],
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

    def mark_known(self, lines: str) -> None:
        """Marks lines as returned by an earlier process, so that they are not returned again."""
        self._reader.feed(lines, 0)

    def start(self) -> None:
        """Starts the thread."""
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

    def take(self) -> list[str]:
        """Returns the new lines; any thread may call this."""
        lines: list[str] = []
        while self._lines:
            lines.append(self._lines.popleft())
        return lines

    def account(self) -> list[str]:
        """Returns explanations for a metric that did not come."""
        failure = f"; the last failure: {self._failure}" if self._failure else ""
        asked = f"the page was asked for {self._asked} times and came {self._answered} times"
        return [asked + failure, *self._reader.account()]

    def close(self) -> None:
        """Stops the requests; returns after the last one has ended, or after a time limit."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)
