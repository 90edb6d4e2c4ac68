"""The events of a job that a runner reports: its creation, its lines, and obstacles to reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Event", "LogLine", "MetricLine", "Notice", "Observer", "SourceNote", "Started"]


@dataclass(frozen=True)
class Started:
    """The job was created, by this call or earlier; this is the first event of every job.

    Attributes:
        time: Time of the creation, in the form of `study.history.time_text`.
        goes_on: Whether the lines go on after `TrialJob.after`, since the caller has those before.
    """

    time: str
    goes_on: bool = False


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


Event = Started | LogLine | MetricLine | SourceNote | Notice
Observer = Callable[[Event], None]
