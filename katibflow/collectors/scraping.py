"""Asks for a trial's page of metrics again and again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from katibflow.collectors.sources import NoPage, PageReader

__all__ = ["Scraper"]

_PATIENCE = 10.0


class Scraper:
    """Asks for a page in a thread of its own, until it is closed.

    Args:
        reader: Makes lines of the pages.
        fetch: Returns the page, or raises `NoPage`.
        period: Seconds from one answer to the next request.
        wake: Called when there are new lines.
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

    def know(self, lines: str) -> None:
        """Takes lines that were told before, so that they are not told again."""
        self._reader.feed(lines, 0)

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

    def take(self) -> list[str]:
        """The new lines, from any thread."""
        lines: list[str] = []
        while self._lines:
            lines.append(self._lines.popleft())
        return lines

    def account(self) -> list[str]:
        """What explains that a metric did not come."""
        failure = f"; the last failure: {self._failure}" if self._failure else ""
        asked = f"the page was asked for {self._asked} times and came {self._answered} times"
        return [asked + failure, *self._reader.account()]

    def close(self) -> None:
        """Stops asking; returns when no request is on its way, or it takes too long."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)
