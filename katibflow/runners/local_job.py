"""Follows one trial's processes to their end, by events alone."""

from __future__ import annotations

import errno
import math
import os
import select
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from katibflow.errors import RunnerError
from katibflow.runners.base import (
    JobOutcome,
    JobState,
    Limits,
    LogLine,
    Notice,
    Observer,
    Started,
    StopRequest,
)
from katibflow.runners.local_lines import LogTail, last_lines
from katibflow.runners.local_manifest import JobPlan, Replica, command_of, program_of
from katibflow.runners.local_paths import PathMap
from katibflow.runners.local_processes import (
    FOLDER_MARK,
    KILL_GRACE,
    REPLICA_MARK,
    TAKEN,
    ReplicaProcess,
    adopt,
    describe_exit,
    end_all,
    marked,
    never_connected,
    start,
)
from katibflow.runners.local_record import Attempt, TrialFolder
from katibflow.runners.local_watches import LogWatch, LogWatches

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

_LAST_LINES = 10
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


@dataclass(frozen=True)
class _Ended:
    """A replica that is over; ``code`` as a shell has it, None if unknown."""

    code: int | None


class _Replicas:
    """The replicas of a job: not begun, running, or ended.

    Attributes:
        running: Name to process.
        ended: Name to end, in the order in which they ended.
    """

    def __init__(
        self, plan: JobPlan, folder: TrialFolder, attempt: Attempt, maps: Sequence[PathMap]
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._attempt = attempt
        self._maps = maps
        self._waiting: list[Replica] = []
        self._done: list[ReplicaProcess] = []
        self.running: dict[str, ReplicaProcess] = {}
        self.ended: dict[str, _Ended] = {}

    def find(self) -> None:
        """Takes over what earlier tools started."""
        ended: list[tuple[int, str, _Ended]] = []
        for replica in self._plan.replicas:
            name = replica.name
            # The process is looked at before the code, which it writes last.
            process = adopt(self._attempt, name, self._folder.path)
            code = self._attempt.exit_code(name)
            if code is not None:
                ended.append((self._attempt.exit_time(name), name, _Ended(code)))
                if process is not None:
                    self._done.append(process)
            elif process is not None:
                self.running[name] = process
            elif self._attempt.pid(name) is not None:
                ended.append((self._attempt.exit_time(name), name, _Ended(None)))
            else:
                self._waiting.append(replica)
        self.ended.update((name, end) for _, name, end in sorted(ended, key=lambda item: item[0]))

    def begin(self) -> JobOutcome | None:
        """Starts what may run now.

        Returns:
            The job's end if a replica cannot be started.

        Raises:
            RunnerError: The folder cannot be written, or the machine has no room for a process.
        """
        while self._waiting and len(self.running) < self._plan.parallelism:
            replica = self._waiting.pop(0)
            marks = {FOLDER_MARK: str(self._folder.path), REPLICA_MARK: replica.name}
            command = command_of(replica, self._maps, self._folder.path, marks)
            if not command.folder.is_dir():
                return _cannot_start(replica, f"there is no folder {command.folder}")
            program = program_of(command)
            if program is None:
                return _cannot_start(
                    replica,
                    f"{command.arguments[0]!r} is no program that can be executed here",
                )
            try:
                self.running[replica.name] = start(
                    command,
                    program,
                    self._attempt.base(replica.name),
                    self._folder.log(replica.name),
                )
            except ValueError as error:  # a NUL byte
                return _cannot_start(replica, str(error))
            except OSError as error:
                if error.errno == errno.E2BIG:
                    return _cannot_start(replica, "its arguments or environment are too long")
                raise RunnerError(
                    f"trial {self._folder.number}: {replica.name} cannot be started: "
                    f"{error.strerror or error} ({error.filename or 'no file'})"
                ) from error
        return None

    def take_ended(self, pidfds: set[int]) -> None:
        """Moves the replicas whose processes ended, the earliest first."""
        names = [name for name, process in self.running.items() if process.pidfd in pidfds]
        for name in sorted(names, key=self._attempt.exit_time):
            process = self.running.pop(name)
            self._done.append(process)
            code = self._attempt.exit_code(name)
            if code is None:
                code = process.exit_code()
                if code == TAKEN and not (self._attempt.pid(name) or self._attempt.end()):
                    raise RunnerError(
                        f"{self._attempt.base(name)}.pid: cannot be written; is the disk full?"
                    )
            self.ended[name] = _Ended(code)

    @property
    def sessions(self) -> frozenset[int]:
        """The sessions of the replicas whose pids cannot be anybody else's."""
        processes = (*self._done, *self.running.values())
        return frozenset(process.pid for process in processes if process.is_held)

    def close(self) -> None:
        """Ends the process groups of our own children and lets go of all processes."""
        for process in (*self._done, *self.running.values()):
            process.close()
        self._done.clear()
        self.running.clear()

    def judge(self) -> JobOutcome | None:
        """The job's end as the exit codes have it; None while it goes on."""
        succeeded = 0
        for name, end in self.ended.items():
            if end.code == 0:
                succeeded += name in self._plan.deciders
            elif succeeded < self._plan.needed:
                return JobOutcome(
                    JobState.FAILED,
                    "ReplicaFailed",
                    _with_log(f"{name} {describe_exit(end.code)}", self._folder, name),
                )
        if succeeded >= self._plan.needed:
            return JobOutcome(JobState.SUCCEEDED)
        return None


def _cannot_start(replica: Replica, why: str) -> JobOutcome:
    return JobOutcome(JobState.FAILED, "StartFailed", f"{replica.name} cannot be started: {why}")


def _with_log(sentence: str, folder: TrialFolder, replica: str) -> str:
    lines = last_lines(folder.log(replica), _LAST_LINES)
    if not lines:
        return f"{sentence}; {replica} printed nothing"
    listed = "".join(f"\n  {line}" for line in lines)
    return f"{sentence}; the last lines of {replica}:{listed}"


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
    plan: JobPlan, folder: TrialFolder, outcome: JobOutcome, observe: Observer
) -> JobOutcome:
    """Tells of a job whose end is known, and ends what may be left of it."""
    end_all(folder.path, 0)
    observe(Started())
    with _tail(plan, folder) as tail:
        for line in tail.rest():
            observe(LogLine(line))
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
        watches: Where the watch on the log comes from.

    Raises:
        RunnerError: A process cannot be made or ended, or the folder cannot be written.
    """
    log = folder.log(plan.replicas[0].name)
    log.touch()
    with _tail(plan, folder) as tail, watches.watch(log) as watch:
        job = _Job(plan, folder, attempt, maps, limits, observe, tail, watch)
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
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._attempt = attempt
        self._limits = limits
        self._observe = observe
        self._tail = tail
        self._replicas = _Replicas(plan, folder, attempt, maps)
        self._is_checked = not plan.connects
        self._registered: set[int] = set()
        self._poller = select.poll()
        self._watch = watch
        self.wakeup = Wakeup()
        self._poller.register(self.wakeup.fileno(), select.POLLIN)
        self._poller.register(watch.fileno(), select.POLLIN)

    def until_end(self, stop: StopRequest) -> JobOutcome:
        """Follows the job until it is known how it ends."""
        self._replicas.find()
        adopted = bool(self._replicas.running or self._replicas.ended)
        failed = self._replicas.begin()
        if failed is not None:
            return failed
        self._observe(Started())
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
        if outcome.state is JobState.SUCCEEDED and self._replicas.running:
            names = ", ".join(sorted(self._replicas.running))
            self._observe(Notice(f"stopped {names}: still running after the job succeeded"))
        self.end(grace)

    def end(self, grace: float) -> None:
        """Ends all processes; SIGKILL comes ``grace`` seconds after SIGTERM."""
        end_all(self._folder.path, grace, self._replicas.sessions)

    def close(self) -> None:
        """Lets go of everything that is held."""
        self._replicas.close()
        self.wakeup.close()

    def _wait_for_stragglers(self) -> None:
        deadline = time.monotonic() + STRAGGLER_GRACE
        while self._replicas.running and (left := deadline - time.monotonic()) > 0:
            more = self._deliver()
            self._wait(0 if more else left)

    def _deliver(self) -> bool:
        lines, more = self._tail.read()
        for line in lines:
            self._observe(LogLine(line))
        return more

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
        if self.wakeup.fileno() in ready:
            os.eventfd_read(self.wakeup.fileno())
        ended = ready & running
        for pidfd in ended:
            self._poller.unregister(pidfd)
        self._replicas.take_ended(ended)

    def _stopped(self, stop: StopRequest) -> JobOutcome | None:
        if stop.reason is None:
            return None
        return JobOutcome(JobState.STOPPED, "Stopped", stop.reason)

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
                _with_log(
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
            [name for name in others if name in self._replicas.running],
            self._attempt.port,
        )
        if not names:
            return None
        verb = "has" if len(names) == 1 else "have"
        return JobOutcome(
            JobState.FAILED,
            "ReplicaNeverConnected",
            _with_log(
                f"{', '.join(names)} {verb} not connected to {first} (port {self._attempt.port}) "
                f"within {self._limits.start:g} s",
                self._folder,
                names[0],
            ),
        )
