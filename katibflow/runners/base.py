"""Defines `Runner`, which runs a trial's job in some place and keeps the trial's record there.

Each place has a folder beside this module. The engine and the pipeline's steps use runners through
this protocol only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from katibflow.collectors.sources import Source
from katibflow.experiment.timeouts import Limits
from katibflow.runners.events import Observer
from katibflow.runners.stopping import StopRequest
from katibflow.study.checkpoints import Checkpoint
from katibflow.study.history import Trial

__all__ = ["JobOutcome", "JobState", "Runner", "TrialJob"]


@dataclass(frozen=True)
class TrialJob:
    """One trial's job, ready to be created.

    Attributes:
        trial: The trial, in state RUNNING; its ``job`` is the job's name.
        manifest: The rendered ``trialSpec``, without katibflow's name and labels.
        primary_container: Name of the container whose output holds the metrics; None: the only
            container.
        limits: Time limits of the trial.
        source: Source of the metrics, if they are not in that output.
        checkpoint: Checkpoint folder of the trial, if it has one.
        parent: Name of the job whose checkpoints the trial starts from; None: it starts empty.
        after: `LogLine.position` of the last line of output that the caller has; empty if it has
            none. The output of the same job goes on after that line, if the runner can do so.
    """

    trial: Trial
    manifest: Mapping[str, Any]
    primary_container: str | None
    limits: Limits = field(default_factory=Limits)
    source: Source | None = None
    checkpoint: Checkpoint | None = None
    parent: str | None = None
    after: str = ""


class JobState(StrEnum):
    """The end of a job; STOPPED means that a stop was requested."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


@dataclass(frozen=True)
class JobOutcome:
    """The end of a job, with its reason, logs and start.

    Attributes:
        state: The kind of end.
        reason: One word, as in a Kubernetes condition ("ReplicaFailed", "TrialTimedOut").
        message: A sentence with the replica, its exit code, and the last lines of its log.
        logs: Replica name ("master-0") to its log (a path, a URL, or a command that shows it).
        start: Time from the last event `Started`; None: the job was never created, or a queue
            held it back when it ended.
            A runner leaves this out, and `engine.trial.run_trial` fills it in.
        end: Time of the job's end (UTC, ISO 8601), if it may have ended long before it was
            followed; None: it ends now.
    """

    state: JobState
    reason: str = ""
    message: str = ""
    logs: Mapping[str, str] = field(default_factory=dict)
    start: str | None = None
    end: str | None = None


class Runner(Protocol):
    """Runs trials of one experiment, several at a time from several threads."""

    def records(self) -> Sequence[Trial]:
        """Returns the trials on record, running ones included, by ascending number.

        A running trial has its job's start, or none if its job was stopped and will be created
        anew.

        Raises:
            RunnerError: The records cannot be read.
        """

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Records the trial, creates or adopts its job, and follows the job to its end.

        Blocks until the job is over, and the primary container's output and the `TrialJob.source`
        have been read completely. If the job was stopped or ran out of time, no replica is left
        then. If the job ended by itself, other replicas may still run: the runner ends them while
        the next trials run, at the latest in `close`. A job that fails is an outcome, not an
        error. A job that is adopted, running or ended, is observed from its first line on, or from
        `TrialJob.after` on; a job that was stopped before is created anew.

        Args:
            job: The job to run.
            observe: Called with each event, in the calling thread.
            stop: A request that ends the job early.

        Raises:
            RunnerError: The runner cannot run any job (a failed job is no error).
        """

    def record(self, trial: Trial) -> None:
        """Writes a trial's present state to its record; the record is durable when this returns.

        Raises:
            RunnerError: The record could not be written.
        """

    def sweep(self, keep: Collection[int], reason: str) -> None:
        """Stops every running job of this experiment's run, whoever created it.

        Args:
            keep: Numbers of the trials whose jobs go on.
            reason: The reason, for the jobs' records.

        Raises:
            RunnerError: Some jobs could not be stopped.
        """

    def close(self) -> None:
        """Ends what finished jobs have left running, and releases the runner's resources.

        Records stay. The call takes a bounded time. It reports what it cannot end, and does not
        raise.
        """
