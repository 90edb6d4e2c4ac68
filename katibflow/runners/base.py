"""What a runner is: it runs a trial's job somewhere, and keeps the trial's record there.

Each place to run trials has a folder beside this module. The engine and the pipeline's steps know
a runner by this protocol only.
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
