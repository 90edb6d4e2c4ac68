"""The output of a trial's present attempt: the log of its pods, and its source of metric lines.

A job that a queue preempts begins anew (`attempts`): what the readers of the attempt before still
deliver is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from katibflow.errors import RunnerError
from katibflow.runners.base import TrialJob
from katibflow.runners.events import Event, LogLine, MetricLine, SourceNote
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.ending import TAIL_LINES
from katibflow.runners.kubernetes.inbox import Inbox
from katibflow.runners.kubernetes.log_position import LogPosition
from katibflow.runners.kubernetes.logs import LogReader
from katibflow.runners.kubernetes.metrics_registry import source_of
from katibflow.runners.kubernetes.metrics_sources import PodSource
from katibflow.runners.kubernetes.pods import Pod, followed_container
from katibflow.runners.kubernetes.watch import WatchFailed

__all__ = ["LogEnded", "SourceEnded", "TrialOutput"]


@dataclass(frozen=True)
class LogEnded:
    """All lines of the log have been delivered."""


@dataclass(frozen=True)
class SourceEnded:
    """All lines of the source of metrics have been delivered."""


class TrialOutput:
    """Reads a trial's output in threads of its own, and delivers it to an inbox.

    Args:
        api: Requests in the namespace.
        job: The trial's job.
        inbox: Takes lines, their ends, and why they cannot be read.
        uid: The job's uid, for positions in the log.
        after: The position of the last line that is known; None: all lines are delivered.
        lost: Called, in the reader's thread, with a sentence if lines may be lost.

    Attributes:
        tail: The last lines of the log.
        last: The time of the last line, in seconds of a clock that never goes back.
        log: The reader of the present attempt's log.
    """

    def __init__(
        self,
        api: Api,
        job: TrialJob,
        inbox: Inbox,
        uid: str,
        after: LogPosition | None,
        lost: Callable[[str], None],
    ) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.last = 0.0
        self._api = api
        self._job = job
        self._inbox = inbox
        self._uid = uid
        self._lost = lost
        self._readers: list[tuple[LogReader, PodSource]] = []
        self._open(after)

    def begin_anew(self) -> None:
        """Drops the attempt before: its lines, and what it still delivers."""
        self.tail.clear()
        self._open(None)

    def _open(self, after: LogPosition | None) -> None:
        number = len(self._readers) + 1

        def put(event: object) -> None:
            if number == len(self._readers):
                self._inbox.put(event)

        def put_line(event: Event) -> None:
            if number == len(self._readers):
                self._inbox.put_line(event)

        def failed(error: RunnerError) -> None:
            put(WatchFailed(error))

        self.log = LogReader(
            self._api,
            lambda text, position: put_line(LogLine(text, position)),
            lambda: put(LogEnded()),
            failed,
            self._uid,
            after,
            self._lost,
        )
        self._source = source_of(
            self._api, self._job.source, put_line, lambda: put(SourceEnded()), failed
        )
        self._log_ended = self._source_ended = False
        self._readers.append((self.log, self._source))

    @property
    def is_complete(self) -> bool:
        """Whether all lines have been taken from the inbox."""
        return self._log_ended and self._source_ended

    def note(self, event: LogLine | MetricLine | SourceNote | LogEnded | SourceEnded) -> None:
        """Notes an event that was taken from the inbox."""
        match event:
            case LogEnded():
                self._log_ended = True
            case SourceEnded():
                self._source_ended = True
            case _:
                self.last = monotonic()
                if isinstance(event, LogLine):
                    self.tail.append(event.text)

    def read(self, pod: Pod, primary: str | None) -> None:
        """Reads the output of a pod that does the trial's work, as far as there is one."""
        container = followed_container(pod, primary)
        if container is not None:
            self._source.pod_changed(pod, container)
            self.log.read(pod, container)

    def end(self, pod: str | None = None) -> None:
        """Notes that a pod is gone; without one, that no more instances come.

        Args:
            pod: The pod's name.
        """
        if pod is None:
            self.log.end()
            self._source.end()
            self.last = monotonic()
        else:
            self.log.end(pod)
            self._source.end(pod)

    def cancel(self) -> None:
        """Ends all reading, whatever is left."""
        for log, source in self._readers:
            log.cancel()
            source.cancel()
