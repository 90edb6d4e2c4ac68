"""Follows the logs of containers, one after the other, without losing or doubling a line.

Each line comes with its time. After a broken connection the log is requested again from the last
line's second on, and the lines of that second that were delivered already are skipped. A process
that adopts a job does the same with the last line of the one before, by its `LogPosition`. A log is
complete once a request that was made after its container had ended has read it to its end.
"""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.api import Api, ApiError, Backoff, Lost, Stream
from katibflow.runners.kubernetes.log_position import LogPosition, nanoseconds
from katibflow.runners.kubernetes.pods import Container, Pod

__all__ = ["Instance", "LogReader", "tail"]

_NOT_THERE = re.compile(r"unable to retrieve container logs for \S+")
"""The kubelet's answer, with status 200, for a log that it has no more. It has no code, but it is
the only line without a time where times were asked for."""

_SECOND = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d)")


def _second(stamp: str) -> str:
    """Returns the whole second of a log line's time, or an empty text if it is no time."""
    match = _SECOND.fullmatch(stamp)
    return match[1] + match[2] if match else ""


@dataclass(frozen=True)
class Instance:
    """One run of a container; each restart makes another instance."""

    pod: str
    uid: str
    container: str
    restarts: int

    @property
    def key(self) -> str:
        """Returns the instance's name in a `LogPosition`."""
        return f"{self.uid}/{self.restarts}"


def tail(api: Api, pod: str, container: str, lines: int, *, previous: bool = False) -> list[str]:
    """Returns the last lines of a container's log, or none if they cannot be read."""
    query = {"container": container, "tailLines": lines, "timestamps": "true"}
    query |= {"previous": "true"} if previous else {}
    try:
        stream = api.stream(api.path("v1", "pods", pod, "log"), query)
        texts = (_text(line) for line, _ in stream.lines())
        return [text for text in texts if text is not None]
    except (ApiError, Lost):
        return []


def _text(line: str) -> str | None:
    """Returns a line without its time, or None if it is no container's."""
    stamp, _, text = line.partition(" ")
    if _second(stamp):
        return text
    return None if _NOT_THERE.fullmatch(line) else line


class LogReader:
    """Reads the logs of instances in a thread of its own.

    Args:
        api: Requests in the namespace.
        deliver: Called with each line and its position, as text; while it blocks, the log is not
            read further.
        done: Called once all instances' logs are read and no more instances come.
        failed: Called if logs cannot be read at all.
        job: The uid of the job, for positions.
        after: The position of the last line that is known; None: all lines are delivered.
        lost: Called with a sentence if lines after that position may be lost.
    """

    def __init__(
        self,
        api: Api,
        deliver: Callable[[str, str], None],
        done: Callable[[], None],
        failed: Callable[[RunnerError], None],
        job: str = "",
        after: LogPosition | None = None,
        lost: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._api = api
        self._deliver = deliver
        self._done = done
        self._failed = failed
        self._job = job
        self._after = after
        self._lost = lost
        self._read_before = after.read if after else ()
        self._same = (after.stamp, after.same) if after else ("", 0)
        self._state = threading.Condition()
        self._waiting: deque[Instance] = deque()
        self._known: set[Instance] = set()
        self._ended: set[Instance] = set()
        self._restarts: dict[str, int] = {}  # of each pod, so far
        self._complete = False
        self._cancelled = threading.Event()
        self._stream: Stream | None = None
        self._opened: float | None = None
        self._thread: threading.Thread | None = None
        self._backoff = Backoff(api.timing, self._cancelled)

    def follow(self, instance: Instance, *, ended: bool) -> None:
        """Adds an instance's log, and notes whether the instance has ended."""
        with self._state:
            if instance not in self._known:
                self._known.add(instance)
                self._waiting.append(instance)
            if ended:
                self._ended.add(instance)
            self._state.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()

    def knows(self, instance: Instance) -> bool:
        """Returns whether `follow` was called with the instance."""
        return instance in self._known

    @property
    def has_begun(self) -> bool:
        """Returns whether there was any instance to read."""
        return bool(self._known)

    def read(self, pod: Pod, container: Container) -> None:
        """Follows a container's latest instance, and the one before it; nothing if none began."""
        if not container.has_log:
            return
        self.restarted(pod.name, container.restarts)
        if container.restarts:
            before = Instance(pod.name, pod.uid, container.name, container.restarts - 1)
            self.follow(before, ended=True)
        latest = Instance(pod.name, pod.uid, container.name, container.restarts)
        self.follow(latest, ended=container.state != "running" or pod.is_over)

    def restarted(self, pod: str, restarts: int) -> None:
        """Takes the number of a container's restarts: all instances before the last have ended."""
        with self._state:
            self._restarts[pod] = restarts
            for instance in self._known:
                if instance.pod == pod and instance.restarts < restarts:
                    self._ended.add(instance)
            self._state.notify_all()

    def ask_again(self) -> None:
        """Ends the present request, whose connection may be dead, so that another is made."""
        with self._state:
            stream = self._stream
        if stream:
            stream.close()

    def end(self, pod: str | None = None) -> None:
        """Ends a pod's instances, as the pod is gone; without a pod, no more instances come."""
        with self._state:
            if pod is None:
                self._complete = True
            self._ended.update(item for item in self._known if pod in (None, item.pod))
            self._state.notify_all()
            if pod is None and self._thread is None:
                self._done()

    def cancel(self) -> None:
        """Stops reading; returns once the thread has ended."""
        with self._state:
            self._cancelled.set()
            self._state.notify_all()
            stream, thread = self._stream, self._thread
        if stream:
            stream.close()
        if thread:
            thread.join()

    def _run(self) -> None:
        try:
            while True:
                with self._state:
                    while not (self._waiting or self._complete or self._cancelled.is_set()):
                        self._state.wait()
                    if self._cancelled.is_set():
                        return
                    instance = self._waiting.popleft() if self._waiting else None
                if instance is None:
                    self._done()
                    return
                self._read(instance)
        except RunnerError as error:
            if not self._cancelled.is_set():
                self._failed(error)

    def _read(self, instance: Instance) -> None:
        """Reads an instance's log to its end."""
        known = self._after if self._after and self._after.instance == instance.key else None
        if instance.key in (self._after.read if self._after else ()):
            return
        since = _second(known.stamp) if known else ""
        delivered: Counter[str] = Counter()  # the raw lines since that second
        while not self._cancelled.is_set():
            with self._state:
                ended = instance in self._ended
                behind = self._restarts.get(instance.pod, 0) - instance.restarts
            if behind > 1:  # the kubelet keeps the log of the last instance and the one before
                self._read_to_its_end(instance)
                return
            query = {"container": instance.container, "timestamps": "true"}
            query |= {} if ended else {"follow": "true"}
            query |= {"sinceTime": since} if since else {}
            query |= {"previous": "true"} if behind == 1 else {}
            again = Counter(delivered)
            lost: Lost | None = None
            self._opened = None
            try:
                for line, whole in self._after_known(known, self._lines(instance, query)):
                    if again[line] > 0:
                        again[line] -= 1
                    elif whole or ended:
                        since = self._deliver_line(instance, line, since, delivered)
                        known = None
                        self._backoff.reset()
            except Lost as error:
                lost = error
                if self._opened and monotonic() - self._opened > self._api.timing.silence / 2:
                    self._backoff.reset()  # nothing was printed; the server did answer
            except ApiError as error:
                if error.status in (401, 403):
                    raise
                if ended:  # the pod or its log is gone
                    self._read_to_its_end(instance)
                    return
                lost = Lost(str(error))
            if ended and lost is None:
                self._read_to_its_end(instance)
                return
            self._wait(instance, lost)

    def _lines(self, instance: Instance, query: dict[str, str]) -> Iterator[tuple[str, bool]]:
        stream = self._api.stream(self._api.path("v1", "pods", instance.pod, "log"), query)
        self._opened = monotonic()
        with self._state:
            self._stream = stream
        if self._cancelled.is_set():
            stream.close()
        try:
            yield from stream.lines()
        finally:
            stream.close()

    def _read_to_its_end(self, instance: Instance) -> None:
        if instance.key not in self._read_before:
            self._read_before = (*self._read_before, instance.key)
        self._same = ("", 0)

    def _after_known(
        self, known: LogPosition | None, lines: Iterator[tuple[str, bool]]
    ) -> Iterator[tuple[str, bool]]:
        """Yields the lines that come after the last known one."""
        limit = nanoseconds(known.stamp) if known else None
        left, is_begun = known.same if known else 0, known is None
        for line, whole in lines:
            if known is None or limit is None:
                yield line, whole
                continue
            stamp = line.partition(" ")[0]
            time = nanoseconds(stamp)
            if time is not None and time <= limit:
                is_begun = True
                if time < limit or left > 0:
                    left -= time == limit
                    continue
            if not is_begun and whole:
                is_begun = True
                self._lost(f"the log was rotated: lines from {known.stamp} to {stamp} may be lost")
            yield line, whole

    def _deliver_line(
        self, instance: Instance, line: str, since: str, delivered: Counter[str]
    ) -> str:
        stamp, _, text = line.partition(" ")
        second = _second(stamp)
        if not second:
            if not _NOT_THERE.fullmatch(line):
                self._deliver(line, "")
            return since
        if second != since:
            since = second
            delivered.clear()
        delivered[line] += 1
        last, same = self._same
        self._same = stamp, same + 1 if stamp == last else 1
        place = LogPosition(self._job, self._read_before, instance.key, *self._same)
        self._deliver(text, str(place))
        return since

    def _wait(self, instance: Instance, lost: Lost | None) -> None:
        """Waits for the time of the next request, or until the instance of a clean read ended."""
        delay = self._backoff.delay(lost or Lost("the log ended before its container did"))
        with self._state:
            self._state.wait_for(
                lambda: self._cancelled.is_set() or (lost is None and instance in self._ended),
                delay,
            )
