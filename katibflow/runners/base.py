"""What a runner is: the place where a trial's job runs and where its record is kept.

One implementation a file: ``local`` (processes on this machine), ``kubernetes``. The engine and
the pipeline's launcher step know this module only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from katibflow.collectors.sources import Source
from katibflow.experiment.timeouts import Limits
from katibflow.study.checkpoints import Checkpoint
from katibflow.study.history import Trial

__all__ = [
    "Event",
    "JobOutcome",
    "JobState",
    "Limits",
    "LogLine",
    "MetricLine",
    "Notice",
    "Observer",
    "Runner",
    "SourceNote",
    "Started",
    "StopRequest",
    "TrialJob",
]


@dataclass(frozen=True)
class TrialJob:
    """One trial's job, ready to be created.

    Attributes:
        trial: The trial, in state RUNNING; its ``job`` is the job's name.
        manifest: The rendered ``trialSpec``, without name and labels of ours.
        primary_container: Name of the container whose output holds the metrics; None: the only
            one there is.
        limits: How long it may take.
        source: Where the metrics are, when they are not in that output.
        checkpoint: The checkpoint folder to give to it, if any.
        parent: Name of the job whose checkpoints it starts from; None: it starts from none.
    """

    trial: Trial
    manifest: Mapping[str, Any]
    primary_container: str | None
    limits: Limits = field(default_factory=Limits)
    source: Source | None = None
    checkpoint: Checkpoint | None = None
    parent: str | None = None


class JobState(StrEnum):
    """How a job ended. STOPPED: because a stop was requested."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


@dataclass(frozen=True)
class JobOutcome:
    """The end of a job.

    Attributes:
        state: How it ended.
        reason: One word for why, as in a Kubernetes condition ("ReplicaFailed", "TrialTimedOut").
        message: A sentence: which replica, its exit code, and the last lines of its log.
        logs: Replica name ("master-0") to where its log is (a path or URL).
        start: When the job was created, as `Started` told it; None: it never was. A runner leaves
            it out; `trials.run_trial` puts it in.
    """

    state: JobState
    reason: str = ""
    message: str = ""
    logs: Mapping[str, str] = field(default_factory=dict)
    start: str | None = None


@dataclass(frozen=True)
class Started:
    """The job was created, by this call or before it; the first event of every job.

    Attributes:
        time: When, as `history.time_text` puts it.
    """

    time: str


@dataclass(frozen=True)
class LogLine:
    """A line of the primary container's output, without its line end.

    On another replica's lines nothing is sent; they are in that replica's log.
    """

    text: str


@dataclass(frozen=True)
class MetricLine:
    """A line from the job's `TrialJob.source`, in the form that the collector of its kind reads."""

    text: str


@dataclass(frozen=True)
class SourceNote:
    """What hindered the reading of the source, or explains that nothing came from it."""

    text: str


@dataclass(frozen=True)
class Notice:
    """Something the user should know about the job while it goes on."""

    text: str


Event = Started | LogLine | MetricLine | SourceNote | Notice
Observer = Callable[[Event], None]


class StopRequest:
    """A one-time request to stop a job, made from any thread, seen by the runner at once."""

    def __init__(self) -> None:
        # Reentrant, because a signal handler may make the request in the middle of a reading.
        self._lock = threading.RLock()
        self._reason: str | None = None
        self._callbacks: list[Callable[[], None]] = []

    def set(self, reason: str) -> None:
        """Makes the request; the first reason stays."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    @property
    def reason(self) -> str | None:
        """Why to stop; None while nobody asked."""
        with self._lock:
            return self._reason

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls ``callback`` once the request is made (now, if it was); returns the way out."""
        with self._lock:
            already = self._reason is not None
            if not already:
                self._callbacks.append(callback)
        if already:
            callback()

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return unsubscribe


class Runner(Protocol):
    """Runs trials of one experiment, several at a time from several threads."""

    def records(self) -> Sequence[Trial]:
        """The trials on record, running ones included, by ascending number.

        A running trial has its job's start; one whose job was stopped, to be created anew, none.

        Raises:
            RunnerError: The records cannot be read.
        """

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Records the trial, creates its job (or adopts the one there is), follows it to its end.

        Blocks until the job is over and the output of its primary container, and what its
        `TrialJob.source` holds, is complete. If it was stopped or ran out of time, no replica is
        left by then; of a job that ended by itself other replicas may be: they are ended beside
        what runs next, at the latest by `close`. A job that fails is an outcome, not an error. A
        job that is adopted, running or ended, is observed from its first line on; one that was
        stopped before is created anew.

        Args:
            job: What to run.
            observe: Told what happens, from the calling thread.
            stop: Ends the job early when set.

        Raises:
            RunnerError: No job can be run here at all (not: this job failed).
        """

    def record(self, trial: Trial) -> None:
        """Puts a trial's present state on record; durable when it returns.

        Raises:
            RunnerError: It could not be written.
        """

    def sweep(self, keep: Collection[int], reason: str) -> None:
        """Stops every job of this experiment's run that still goes on, whoever created it.

        Args:
            keep: Numbers of the trials whose jobs are left alone.
            reason: Why, for the jobs' records.

        Raises:
            RunnerError: Not all of them could be stopped.
        """

    def close(self) -> None:
        """Ends what jobs that are over have left, and lets go of what the runner holds.

        Records stay. It takes a bounded time, and what could not be ended is told, not raised.
        """
