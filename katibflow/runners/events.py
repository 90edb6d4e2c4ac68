"""The events of a job that a runner reports: its creation, its lines, and obstacles to reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Event", "LogLine", "MetricLine", "Notice", "Observer", "SourceNote", "Started"]


@dataclass(frozen=True)
class Started:
    """The job was created, by this call or earlier; this is the first event of every job.

    Attributes:
        time: Time of the creation, in the form of `study.history.time_text`.
    """

    time: str


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


Event = Started | LogLine | MetricLine | SourceNote | Notice
Observer = Callable[[Event], None]
