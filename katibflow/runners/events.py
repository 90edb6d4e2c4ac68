"""The events of a job that a runner reports: its creation, its lines, and obstacles to reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "Event",
    "LogLine",
    "MetricLine",
    "Notice",
    "Observer",
    "Queued",
    "SourceNote",
    "Started",
]


@dataclass(frozen=True)
class Started:
    """The job began, in this call or earlier; what it reported before does not count.

    This is the first event of a job, unless a queue holds the job back (`Queued`). It comes again
    when a job begins anew that was preempted.

    Attributes:
        time: Time of the job's creation, in the form of `study.history.time_text`; of a job that
            waited in a queue, the time at which its work began.
    """

    time: str


@dataclass(frozen=True)
class Queued:
    """A queue holds the job back, before its work or after a preemption; `Started` follows."""


@dataclass(frozen=True)
class LogLine:
    """A line of the primary container's output, without its line end.

    Lines of other replicas are no events; they are in those replicas' logs.
    """

    text: str


@dataclass(frozen=True)
class MetricLine:
    """A line from the job's `TrialJob.source`, in the form that the source's collector reads."""

    text: str


@dataclass(frozen=True)
class SourceNote:
    """An obstacle to reading the source, or an explanation of why nothing came from it."""

    text: str


@dataclass(frozen=True)
class Notice:
    """A message about the running job, for the user."""

    text: str


Event = Started | Queued | LogLine | MetricLine | SourceNote | Notice
Observer = Callable[[Event], None]
