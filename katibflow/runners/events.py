"""The events of a job that a runner reports: its creation, its lines, and obstacles to reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

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
        goes_on: Whether the lines go on after `TrialJob.after`, since the caller has those before.
    """

    time: str
    goes_on: bool = False


@dataclass(frozen=True)
class Queued:
    """A queue holds the job back, before its work or after a preemption; `Started` follows."""


@dataclass(frozen=True)
class LogLine:
    """A line of the primary container's output, without its line end.

    Lines of other replicas are no events; they are in those replicas' logs.

    Attributes:
        text: The line.
        position: The runner's own text for the line's place in the output, for `TrialJob.after`;
            empty if the runner always gives the whole output.
    """

    text: str
    position: str = field(default="", compare=False)


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
