"""Follows several logs of a run at once, as ``tail -f`` does files.

Which logs there are is asked again and again; each log is read by a `LogReader` of its own, which
neither loses nor doubles a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from threading import Event
from time import monotonic

from katibflow.client.logs import LogSource
from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.logs import LogReader

__all__ = ["follow_logs", "in_turn"]

_Item = tuple[str, str | RunnerError | None]
"""A pod's uid, and its log's next line; None at the log's end, or why logs cannot be read."""


def follow_logs(
    api: Api,
    sources: Callable[[], Iterable[LogSource]],
    is_over: Callable[[], bool],
    poll: float,
    is_shown: Callable[[], Callable[[str], bool]],
) -> Iterator[tuple[str, str]]:
    """Yields title and line of each log, until no more lines can come.

    Args:
        api: Requests in the namespace of the pods.
        sources: Returns the logs that there are now.
        is_over: Returns whether no more logs come.
        poll: Seconds between two looks at which logs there are.
        is_shown: Makes, for each pod, what says whether a line is shown.

    Raises:
        RunnerError: The cluster refuses, or is out of reach for long.
    """
    inbox: SimpleQueue[_Item] = SimpleQueue()
    readers: dict[str, LogReader] = {}
    titles: dict[str, str] = {}
    filters: dict[str, Callable[[str], bool]] = {}
    try:
        while True:
            over = is_over()  # asked first: what is there afterwards is all there will be
            present = [each for each in sources() if each.has_begun]
            for each in present:
                uid = each.instance.uid
                if uid not in readers:
                    readers[uid] = _reader(api, uid, inbox)
                    titles[uid], filters[uid] = each.title, is_shown()
                readers[uid].restarted(each.instance.pod, each.instance.restarts)
                readers[uid].follow(each.instance, ended=each.has_ended)
            left = len(readers)
            if over:
                for reader in readers.values():
                    reader.end()
            for uid, line in _received(inbox, None if over else poll, left):
                if filters[uid](line):
                    yield titles[uid], line
            if over:
                return
    finally:
        for reader in readers.values():
            reader.cancel()


def in_turn(logs: Iterable[tuple[str, Iterable[str]]]) -> Iterator[tuple[str, str | None]]:
    """Yields name and line of each log, one log after the other; None at a log's beginning."""
    for name, lines in logs:
        yield name, None
        for line in lines:
            yield name, line


def _reader(api: Api, uid: str, inbox: SimpleQueue[_Item]) -> LogReader:
    return LogReader(
        api,
        lambda line, _: inbox.put((uid, line)),
        lambda: inbox.put((uid, None)),
        lambda error: inbox.put((uid, error)),
    )


def _received(
    inbox: SimpleQueue[_Item], seconds: float | None, left: int
) -> Iterator[tuple[str, str]]:
    """Yields what comes within some seconds; with None all that comes until all logs have ended."""
    until = None if seconds is None else monotonic() + seconds
    while left and (until is None or monotonic() < until):
        try:
            uid, item = inbox.get(timeout=None if until is None else max(0, until - monotonic()))
        except Empty:
            break
        if isinstance(item, RunnerError):
            raise item
        if item is None:
            left -= 1
        else:
            yield uid, item
    if until is not None and not left:
        Event().wait(max(0.0, until - monotonic()))
