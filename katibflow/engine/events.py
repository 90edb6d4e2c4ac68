"""The events that the engine sends to its watcher: trials start, report and end; the run ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from katibflow.study.decision import Decision
from katibflow.study.history import Point, Trial

__all__ = [
    "Decided",
    "MetricReported",
    "TrialEnded",
    "TrialNotice",
    "TrialQueued",
    "TrialStarted",
    "Update",
    "Watcher",
]


@dataclass(frozen=True)
class TrialStarted:
    """A trial's job began; ``resumed`` if an earlier process had the trial on record.

    It comes again, for the same trial, if the job was preempted and begins anew: what the trial
    reported before does not count.
    """

    trial: Trial
    resumed: bool


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
    """A message about a running trial, for a person."""

    number: int
    text: str


@dataclass(frozen=True)
class TrialEnded:
    """A trial is finished and on record."""

    trial: Trial
    logs: Mapping[str, str]


@dataclass(frozen=True)
class Decided:
    """The experiment is over; running trials are stopped, or finish first when draining."""

    decision: Decision


Update = TrialStarted | TrialQueued | MetricReported | TrialNotice | TrialEnded | Decided
Watcher = Callable[[Update], None]
