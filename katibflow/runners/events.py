"""What a runner tells of a job: that it was created, its lines, and what hinders their reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Event", "LogLine", "MetricLine", "Notice", "Observer", "SourceNote", "Started"]


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
