"""Follows one trial's processes to their end; it polls the files that they write."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import Enum, auto
from queue import Empty, SimpleQueue

from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobOutcome, JobState
from katibflow.runners.events import LogLine, Notice, Observer, Started
from katibflow.runners.local.attempt import Attempt
from katibflow.runners.local.ending import KILL_GRACE, end_all
from katibflow.runners.local.file_watch import Pace
from katibflow.runners.local.host import Host
from katibflow.runners.local.lines import LogTail
from katibflow.runners.local.manifest import JobPlan
from katibflow.runners.local.members import Census, marked
from katibflow.runners.local.metrics_sources import LocalSource, opened
from katibflow.runners.local.ports import never_connected
from katibflow.runners.local.processes import adopt
from katibflow.runners.local.replicas import Replicas, with_log
from katibflow.runners.local.state_files import unwritable
from katibflow.runners.local.trial_folder import TrialFolder
from katibflow.runners.stopping import StopRequest
from katibflow.study.files import open_regular

__all__ = [
    "STRAGGLER_GRACE",
    "follow",
    "logs_of",
    "remains",
    "replay",
]

STRAGGLER_GRACE = 10.0
"""Seconds that the other replicas may take to end by themselves once the job has succeeded."""

_OBSERVER_GRACE = 3.0
"""The same for a metrics collector, once all other replicas have ended."""

_BEGINNING_LIMIT = 1.0
"""Seconds that a shell may take from creating the file of its pid to writing it."""

_BEGINNING_PAUSE = 0.001


def remains(plan: JobPlan, folder: TrialFolder, attempt: Attempt) -> bool:
    """Returns whether an attempt has left anything: a process, or an exit code.

    After this call, a replica that has not begun can no longer begin by itself.
    """
    return any([_remains(replica.name, folder, attempt) for replica in plan.replicas])


def _remains(replica: str, folder: TrialFolder, attempt: Attempt) -> bool:
    if attempt.void(replica):
        return False
    deadline = time.monotonic() + _BEGINNING_LIMIT
    while attempt.pid(replica) is None and time.monotonic() < deadline:
        # The shell is between creating the file and writing to it, or was killed there.
        if not _may_write_pid(replica, folder, attempt):
            if attempt.pid(replica) is None:
                attempt.void(replica, is_dead=True)
                return False
            break
        time.sleep(_BEGINNING_PAUSE)
    if adopt(attempt, replica, folder.path) is not None:
        return True
    return attempt.exit_code(replica) is not None


def _may_write_pid(replica: str, folder: TrialFolder, attempt: Attempt) -> bool:
    if attempt.has_locks:
        return attempt.shell_lives(replica)
    return replica in {marks.replica for marks in marked(folder.path).values()}


def logs_of(plan: JobPlan, folder: TrialFolder) -> Mapping[str, str]:
    """Returns replica name to log, for replicas that have one."""
    paths = {replica.name: folder.log(replica.name) for replica in plan.replicas}
    return {name: str(path) for name, path in paths.items() if path.exists()}


def replay(
    plan: JobPlan,
    folder: TrialFolder,
    attempt: Attempt,
    outcome: JobOutcome,
    observe: Observer,
    census: Census,
) -> JobOutcome:
    """Sends the events of a job whose end is known, and ends what may be left of the job."""
    end_all(folder.path, 0, census=census)
    observe(Started(attempt.start))
    with _tail(plan, folder) as tail, opened(plan, folder, attempt, is_over=True) as source:
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
    host: Host,
    limits: Limits,
    observe: Observer,
    stop: StopRequest,
    census: Census,
) -> JobOutcome:
    """Starts the missing replicas and follows the job until no process of it is left.

    Args:
        plan: The replicas of the job.
        folder: The trial's folder.
        attempt: The job's state on disk.
        host: The options of the run.
        limits: Time limits, counted from the attempt's creation.
        observe: Called with the job's events, in this thread.
        stop: A request that ends the job early.
        census: Finds the job's processes.

    Raises:
        RunnerError: A process cannot be started or ended, or the folder cannot be written.
    """
    with unwritable(folder.path):
        os.close(open_regular(folder.log(plan.replicas[0].name), os.O_WRONLY | os.O_CREAT))
    # The events: the name of a replica that ended, or None for any other. A SimpleQueue, as a
    # signal handler may put into it.
    happened: SimpleQueue[str | None] = SimpleQueue()

    def wake() -> None:
        happened.put(None)

    with _tail(plan, folder) as tail, opened(plan, folder, attempt, wake) as source:
        job = _Job(plan, folder, attempt, host, limits, observe, tail, source, happened, census)
        unsubscribe = stop.subscribe(wake)
        try:
            outcome = job.until_end(stop)
            job.conclude(outcome)
        except BaseException:
            # Nobody follows the job any more, so it is stopped, and counts as stopped.
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


class _Came(Enum):
    """The result of a poll of the files; after MORE there may be more at once."""

    NOTHING = auto()
    SOMETHING = auto()
    MORE = auto()


class _Job:
    """One job while it is followed."""

    def __init__(
        self,
        plan: JobPlan,
        folder: TrialFolder,
        attempt: Attempt,
        host: Host,
        limits: Limits,
        observe: Observer,
        tail: LogTail,
        source: LocalSource,
        happened: SimpleQueue[str | None],
        census: Census,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._attempt = attempt
        self._limits = limits
        self._observe = observe
        self._tail = tail
        self._replicas = Replicas(plan, folder, attempt, host, happened.put)
        self._is_checked = not plan.connects
        self._source = source
        self._happened = happened
        self._census = census
        self._pace = Pace()

    def until_end(self, stop: StopRequest) -> JobOutcome:
        """Follows the job until its end is known, and returns the end."""
        self._replicas.find()
        adopted = bool(self._replicas.running or self._replicas.ended)
        failed = self._replicas.begin()
        if failed is not None:
            return failed
        self._observe(Started(self._attempt.start))
        if adopted:
            self._observe(Notice("the job of an earlier run of this tool is taken over"))
        while True:
            came = self._deliver()
            outcome = self._replicas.judge() or self._stopped(stop) or self._overdue()
            if outcome is not None:
                # Another process that stops the job writes this down before it does so.
                swept = self._attempt.end() if outcome.state is JobState.FAILED else None
                return swept or outcome
            failed = self._replicas.begin()
            if failed is not None:
                return failed
            self._wait(came, self._next_deadline() - time.monotonic())

    def conclude(self, outcome: JobOutcome) -> None:
        """Ends the processes that still run, as the outcome requires."""
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
        replicas = self._replicas
        end_all(self._folder.path, grace, replicas.sessions, replicas.left, self._census)

    def close(self) -> None:
        """Releases the processes."""
        self._replicas.close()

    def _wait_for_stragglers(self) -> None:
        begun = time.monotonic()
        while running := self._replicas.running.keys():
            alone = running == {self._plan.observer}
            left = begun + (_OBSERVER_GRACE if alone else STRAGGLER_GRACE) - time.monotonic()
            if left <= 0:
                return
            self._wait(self._deliver(), left)

    def _deliver(self) -> _Came:
        lines, more = self._tail.read()
        for line in lines:
            self._observe(LogLine(line))
        events, more_there = self._source.read()
        for event in events:
            self._observe(event)
        if more or more_there:
            return _Came.MORE
        return _Came.SOMETHING if lines or events else _Came.NOTHING

    def _wait(self, came: _Came, seconds: float) -> None:
        """Sleeps until the next event, and takes in which replicas ended.

        Args:
            came: The result of the last poll of the files, on which the next one's time depends.
            seconds: The longest time to sleep.
        """
        pause = self._pace.next(came is not _Came.NOTHING)
        timeout = 0.0 if came is _Came.MORE else max(0.0, min(seconds, pause))
        ended: list[str] = []
        with suppress(Empty):
            happened = self._happened.get(timeout=timeout)
            while True:
                if happened is not None:
                    ended.append(happened)
                happened = self._happened.get_nowait()
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
