"""The trials of a study as values; `study.history` says what the fields mean and keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any

from katibflow.experiment.types import StrategyValue
from katibflow.study.chunks import Chunks

__all__ = ["Observation", "Point", "Trial", "TrialState", "by_number", "time_text"]


class TrialState(StrEnum):
    """The state of a trial.

    A trial is ``KILLED`` if it was stopped because the experiment was over; it does not count.
    """

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"
    KILLED = "KILLED"

    @property
    def is_finished(self) -> bool:
        """Whether a trial in this state has ended and cannot change any more."""
        return self is not TrialState.RUNNING

    @property
    def counts(self) -> bool:
        """Whether a trial that ended in this state uses up the budget: it was not killed."""
        return self.is_finished and self is not TrialState.KILLED


@dataclass(frozen=True)
class Point:
    """One report of a metric.

    Attributes:
        step: The index of the report within the trial, from 0.
        value: The reported value; may be NaN or infinite.
        time: The timestamp as the trial printed it (RFC 3339); None if the trial printed none.
        epoch: The epoch that the same line names; None if the line names none.
    """

    step: int
    value: float
    time: str | None = None
    epoch: int | None = None


@dataclass(frozen=True)
class Observation:
    """One metric of a finished trial; ``min`` and ``max`` are those of the finite reports.

    Where there is none they are infinite, or NaN if all reports are.

    ``text`` is the last report if that is no number, which ``latest`` then is not either.
    """

    latest: float
    min: float
    max: float
    text: str = ""

    def value(self, strategy: StrategyValue) -> float:
        """Returns the value of the metric by a metric strategy."""
        if strategy is StrategyValue.LATEST:
            return self.latest
        return self.min if strategy is StrategyValue.MIN else self.max


@dataclass(frozen=True)
class Trial:
    """One trial, running or finished. The docstring of `study.history` explains the fields."""

    number: int
    state: TrialState
    assignments: Mapping[str, str]
    observations: Mapping[str, Observation] = field(default_factory=dict)
    intermediate: tuple[Point, ...] = ()
    queued: str | None = None
    start: str | None = None
    end: str | None = None
    job: str | None = None
    reason: str = ""
    message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def started(self, time: str) -> Trial:
        """Returns the trial with the time when its job was created.

        Kubernetes gives whole seconds, so a time before ``queued`` becomes ``queued``.

        Args:
            time: The time (UTC, ISO 8601).
        """
        return replace(self, start=max(time, self.queued or ""))

    @property
    def waited(self) -> float | None:
        """Seconds from ``queued`` to ``start``; None if one of them is missing."""
        return _seconds_between(self.queued, self.start)

    @property
    def duration(self) -> float | None:
        """Seconds from ``start`` to ``end``; None if one of them is missing."""
        return _seconds_between(self.start, self.end)


def time_text(moment: datetime) -> str:
    """Returns a time, which has a time zone, in the history's format: UTC, with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _seconds_between(first: str | None, last: str | None) -> float | None:
    try:
        moments = [datetime.fromisoformat(text or "") for text in (first, last)]
    except ValueError:
        return None
    begun, ended = (each if each.tzinfo else each.replace(tzinfo=UTC) for each in moments)
    return max(0.0, (ended - begun).total_seconds())


_NUMBER = attrgetter("number")


def by_number(trials: Iterable[Trial] = ()) -> Chunks[Trial]:
    """Returns trials as a history holds them: by ascending number, cheap to change."""
    return Chunks.of(_NUMBER, trials)
