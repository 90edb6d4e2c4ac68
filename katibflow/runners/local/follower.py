"""Follows one trial's processes to their end, by events alone."""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobOutcome, JobState
from katibflow.runners.events import LogLine, Notice, Observer, Started
from katibflow.runners.local.file_watch import LogWatch, LogWatches
from katibflow.runners.local.lines import LogTail
from katibflow.runners.local.manifest import JobPlan
from katibflow.runners.local.metrics_sources import LocalSource, opened
from katibflow.runners.local.paths import PathMap
from katibflow.runners.local.processes import (
    KILL_GRACE,
    adopt,
    end_all,
    marked,
    never_connected,
)
from katibflow.runners.local.replicas import Replicas, with_log
from katibflow.runners.local.trial_folder import Attempt, TrialFolder
from katibflow.runners.stopping import StopRequest

__all__ = [
    "STRAGGLER_GRACE",
    "Wakeup",
    "follow",
    "logs_of",
    "remains",
    "replay",
]

STRAGGLER_GRACE = 10.0
"""Seconds that the other replicas may take to end by themselves once the job has succeeded."""

_OBSERVER_GRACE = 3.0
"""The same for a metrics collector, once all else has ended."""

_BEGINNING_LIMIT = 1.0
_LONGEST_WAIT = 86_400.0


class Wakeup:
    """Wakes a poll from any thread; safe against a call that comes after the end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor: int | None = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __call__(self) -> None:
        """Wakes it."""
        with self._lock:
            if self._descriptor is not None:
                os.eventfd_write(self._descriptor, 1)

    def fileno(self) -> int:
        """What to poll for reading."""
        assert self._descriptor is not None
        return self._descriptor

    def close(self) -> None:
        """Lets go of the descriptor."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None


def remains(plan: JobPlan, folder: TrialFolder, attempt: Attempt) -> bool:
    """Whether anything is left of an attempt: a process, or an exit code.

    After it, what has not begun by then does not begin by itself any more.
    """
    return any([_remains(replica.name, folder, attempt) for replica in plan.replicas])


def _remains(replica: str, folder: TrialFolder, attempt: Attempt) -> bool:
    if attempt.void(replica):
        return False
    deadline = time.monotonic() + _BEGINNING_LIMIT
    while attempt.pid(replica) is None and time.monotonic() < deadline:
        # Its shell is between making the file and writing to it, or was killed there.
        if replica not in {name for _, name in marked(folder.path).values()}:
            if attempt.pid(replica) is None:
                attempt.void(replica, is_dead=True)
                return False
            break
    process = adopt(attempt, replica, folder.path)
    if process is not None:
        process.close()
        return True
    return attempt.exit_code(replica) is not None


def logs_of(plan: JobPlan, folder: TrialFolder) -> Mapping[str, str]:
    """Replica name to log, of those that have one."""
    paths = {replica.name: folder.log(replica.name) for replica in plan.replicas}
    return {name: str(path) for name, path in paths.items() if path.exists()}


def replay(
    plan: JobPlan,
    folder: TrialFolder,
    attempt: Attempt,
    outcome: JobOutcome,
    observe: Observer,
) -> JobOutcome:
    """Tells of a job whose end is known, and ends what may be left of it."""
    end_all(folder.path, 0)
    observe(Started(attempt.start))
    with _tail(plan, folder) as tail, opened(plan, folder, attempt) as source:
        for line in tail.rest():
            observe(LogLine(line))
        for event in source.rest():
            observe(event)
    return replace(outcome, logs=logs_of(plan, folder))


@contextmanager
def _tail(plan: JobPlan, folder: TrialFolder) -> Iterator[LogTail]:
    tail = LogTail(folder.log(plan.replicas[0].name))
    try:
        yield tail
    finally:
        tail.close()


def follow(
    plan: JobPlan,
    folder: TrialFolder,
    attempt: Attempt,
    maps: Sequence[PathMap],
    limits: Limits,
    observe: Observer,
    stop: StopRequest,
    watches: LogWatches,
) -> JobOutcome:
    """Starts what is not started yet and follows the job until no process of it is left.

    Args:
        plan: What the job is made of.
        folder: The trial's.
        attempt: The job's state on disk.
        maps: Container paths and their places here.
        limits: Counted from the attempt's creation.
        observe: Told of the job from this thread.
        stop: Ends it early.
        watches: Where the watches on the log and on files come from.

    Raises:
        RunnerError: A process cannot be made or ended, or the folder cannot be written.
    """
    log = folder.log(plan.replicas[0].name)
    log.touch()
    wakeup = Wakeup()
    with (
        closing(wakeup),
        _tail(plan, folder) as tail,
        watches.watch(log) as watch,
        opened(plan, folder, attempt, watches, wakeup) as source,
    ):
        job = _Job(plan, folder, attempt, maps, limits, observe, tail, watch, source, wakeup)
        unsubscribe = stop.subscribe(job.wakeup)
        try:
            outcome = job.until_end(stop)
            job.conclude(outcome)
        except BaseException:
            # Nobody follows it any more: it is stopped, and counts as stopped.
            with suppress(OSError):
                attempt.write_end(JobOutcome(JobState.STOPPED, "Stopped", "the tool gave it up"))
            job.end(KILL_GRACE)
            raise
        finally:
            unsubscribe()
            job.close()
        for line in tail.rest():
            observe(LogLine(line))
        for event in source.rest():
            observe(event)
    return replace(outcome, logs=logs_of(plan, folder))


class _Job:
    """One job while it is followed."""

    def __init__(
        self,
        plan: JobPlan,
        folder: TrialFolder,
        attempt: Attempt,
        maps: Sequence[PathMap],
        limits: Limits,
        observe: Observer,
        tail: LogTail,
        watch: LogWatch,
        source: LocalSource,
        wakeup: Wakeup,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._attempt = attempt
        self._limits = limits
        self._observe = observe
        self._tail = tail
        self._replicas = Replicas(plan, folder, attempt, maps)
        self._is_checked = not plan.connects
        self._registered: set[int] = set()
        self._poller = select.poll()
        self._watch = watch
        self._source = source
        self.wakeup = wakeup
        for descriptor in (wakeup.fileno(), watch.fileno(), *source.descriptors):
            self._poller.register(descriptor, select.POLLIN)

    def until_end(self, stop: StopRequest) -> JobOutcome:
        """Follows the job until it is known how it ends."""
        self._replicas.find()
        adopted = bool(self._replicas.running or self._replicas.ended)
        failed = self._replicas.begin()
        if failed is not None:
            return failed
        self._observe(Started(self._attempt.start))
        if adopted:
            self._observe(Notice("the job of an earlier run of this tool is taken over"))
        while True:
            more = self._deliver()
            outcome = self._replicas.judge() or self._stopped(stop) or self._overdue()
            if outcome is not None:
                # A sweep of another tool puts down that it stops the job before it does so.
                swept = self._attempt.end() if outcome.state is JobState.FAILED else None
                return swept or outcome
            failed = self._replicas.begin()
            if failed is not None:
                return failed
            self._wait(0 if more else self._next_deadline() - time.monotonic())

    def conclude(self, outcome: JobOutcome) -> None:
        """Brings what still runs to its end, as the outcome asks for."""
        if outcome.state is JobState.SUCCEEDED:
            self._wait_for_stragglers()
        else:
            self._attempt.write_end(outcome)
        grace = KILL_GRACE if self._replicas.running else 0
        left = self._replicas.running.keys() - {self._plan.observer}
        if outcome.state is JobState.SUCCEEDED and left:
            names = ", ".join(sorted(left))
            self._observe(Notice(f"stopped {names}: still running after the job succeeded"))
        self.end(grace)

    def end(self, grace: float) -> None:
        """Ends all processes; SIGKILL comes ``grace`` seconds after SIGTERM."""
        end_all(self._folder.path, grace, self._replicas.sessions)

    def close(self) -> None:
        """Lets go of the processes."""
        self._replicas.close()

    def _wait_for_stragglers(self) -> None:
        begun = time.monotonic()
        while running := self._replicas.running.keys():
            alone = running == {self._plan.observer}
            left = begun + (_OBSERVER_GRACE if alone else STRAGGLER_GRACE) - time.monotonic()
            if left <= 0:
                return
            more = self._deliver()
            self._wait(0 if more else left)

    def _deliver(self) -> bool:
        lines, more = self._tail.read()
        for line in lines:
            self._observe(LogLine(line))
        events, more_there = self._source.read()
        for event in events:
            self._observe(event)
        return more or more_there

    def _wait(self, seconds: float) -> None:
        """Sleeps until something happens, and takes in which replicas ended."""
        running = {process.pidfd for process in self._replicas.running.values()}
        for pidfd in running - self._registered:
            self._poller.register(pidfd, select.POLLIN)
        self._registered |= running
        timeout = max(0, math.ceil(min(seconds, _LONGEST_WAIT) * 1000))
        ready = {descriptor for descriptor, _ in self._poller.poll(timeout)}
        if self._watch.fileno() in ready:
            self._watch.clear()
        if ready.intersection(self._source.descriptors):
            self._source.clear()
        if self.wakeup.fileno() in ready:
            os.eventfd_read(self.wakeup.fileno())
        ended = ready & running
        for pidfd in ended:
            self._poller.unregister(pidfd)
        self._replicas.take_ended(ended)

    def _stopped(self, stop: StopRequest) -> JobOutcome | None:
        if stop.reason is None:
            return None
        return JobOutcome(JobState.STOPPED, "Stopped", stop.reason.text)

    def _next_deadline(self) -> float:
        created = self._attempt.created
        trial = math.inf if self._limits.trial is None else created + self._limits.trial
        start = math.inf if self._is_checked else created + self._limits.start
        return min(trial, start)

    def _overdue(self) -> JobOutcome | None:
        passed = time.monotonic() - self._attempt.created
        limit = self._limits.trial
        if limit is not None and passed >= limit:
            first = self._plan.replicas[0].name
            running = ", ".join(sorted(self._replicas.running))
            return JobOutcome(
                JobState.FAILED,
                "TrialTimedOut",
                with_log(
                    f"the trial ran longer than {limit:g} s, still running: {running}",
                    self._folder,
                    first,
                ),
            )
        if not self._is_checked and passed >= self._limits.start:
            self._is_checked = True
            return self._unconnected()
        return None

    def _unconnected(self) -> JobOutcome | None:
        first, *others = (replica.name for replica in self._plan.replicas)
        names = never_connected(
            self._folder.path,
            first,
            [n for n in others if n in self._replicas.running and n != self._plan.observer],
            self._attempt.port,
        )
        if not names:
            return None
        verb = "has" if len(names) == 1 else "have"
        return JobOutcome(
            JobState.FAILED,
            "ReplicaNeverConnected",
            with_log(
                f"{', '.join(names)} {verb} not connected to {first} (port {self._attempt.port}) "
                f"within {self._limits.start:g} s",
                self._folder,
                names[0],
            ),
        )
