"""What the engine tells its watcher: trials that start, report and end, and that it is over."""

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
    "TrialStarted",
    "Update",
    "Watcher",
]


@dataclass(frozen=True)
class TrialStarted:
    """A trial's job was created; ``resumed`` when the trial was on record of an earlier process."""

    trial: Trial
    resumed: bool


@dataclass(frozen=True)
class MetricReported:
    """A running trial reported a metric."""

    number: int
    metric: str
    point: Point


@dataclass(frozen=True)
class TrialNotice:
    """Something about a running trial that a person should know."""

    number: int
    text: str


@dataclass(frozen=True)
class TrialEnded:
    """A trial is finished and on record."""

    trial: Trial
    logs: Mapping[str, str]


@dataclass(frozen=True)
class Decided:
    """The experiment is over; trials that still run are stopped, or waited for when draining."""

    decision: Decision


Update = TrialStarted | MetricReported | TrialNotice | TrialEnded | Decided
Watcher = Callable[[Update], None]
