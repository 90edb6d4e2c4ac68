"""The events that the engine sends to its watcher: trials start, report and end; the run ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from katibflow.study.decision import Decision
from katibflow.study.history import Point, Trial

__all__ = [
    "Decided",
    "Interrupted",
    "MetricReported",
    "TrialEnded",
    "TrialNotice",
    "TrialQueued",
    "TrialStarted",
    "TrialsTakenOver",
    "Update",
    "Watcher",
]


@dataclass(frozen=True)
class TrialStarted:
    """A trial's job began.

    It comes again, for the same trial, if the job was preempted and begins anew: what the trial
    reported before does not count.

    Attributes:
        trial: The trial.
        resumed: Whether an earlier process had the trial on record.
        anew: Whether that process's job of the trial was stopped, so that this is another job.
    """

    trial: Trial
    resumed: bool
    anew: bool = False


@dataclass(frozen=True)
class TrialsTakenOver:
    """Finished trials of earlier runs count in this one."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class TrialQueued:
    """A queue of the cluster holds a trial's job back, at first or after a preemption."""

    trial: Trial


@dataclass(frozen=True)
class MetricReported:
    """A running trial reported a metric."""

    number: int
    metric: str
    point: Point


@dataclass(frozen=True)
class TrialNotice:
    """A message about a trial, for a person; the trial may not have started yet."""

    trial: Trial
    text: str


@dataclass(frozen=True)
class TrialEnded:
    """A trial is finished and on record."""

    trial: Trial
    logs: Mapping[str, str]


@dataclass(frozen=True)
class Interrupted:
    """A stop was requested from outside; the trials that run are stopped.

    Attributes:
        text: Why, as a sentence.
        running: The number of those trials.
    """

    text: str
    running: int


@dataclass(frozen=True)
class Decided:
    """The experiment is over; running trials are stopped, or finish first when draining."""

    decision: Decision


Update = (
    TrialStarted
    | TrialQueued
    | TrialsTakenOver
    | MetricReported
    | TrialNotice
    | TrialEnded
    | Interrupted
    | Decided
)
Watcher = Callable[[Update], None]
