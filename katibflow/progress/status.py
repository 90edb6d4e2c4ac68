"""The status of a running experiment, made from the engine's updates; drawing it is elsewhere.

`progress.display` draws it on a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from katibflow.engine.events import (
    Decided,
    Interrupted,
    MetricReported,
    TrialEnded,
    TrialNotice,
    TrialQueued,
    TrialsTakenOver,
    TrialStarted,
    Update,
)
from katibflow.experiment.types import Experiment
from katibflow.printing import visible
from katibflow.report.table import Row as TableRow
from katibflow.study.best import Best, best_of
from katibflow.study.decision import Decision
from katibflow.study.failures import same_cause
from katibflow.study.history import Trial, TrialState
from katibflow.study.objectives import values_text

__all__ = [
    "Row",
    "Status",
    "describe",
]


_FIRST = 2
"""Trials at the beginning of a start whose common failure is told at once."""


@dataclass(frozen=True)
class Row:
    """One trial as it is now.

    Attributes:
        trial: The trial; its state is RUNNING until it has ended.
        latest: Metric name to its last reported value, for a running trial.
        notice: The last notice about the trial; empty by default.
    """

    trial: Trial
    latest: Mapping[str, float] = field(default_factory=dict)
    notice: str = ""


@dataclass(frozen=True)
class Status:
    """All trials of an experiment, and the best so far.

    Attributes:
        experiment: The experiment.
        rows: Trial number to the trial as it is now.
        best: The best trial, or the Pareto front of several objectives.
        decision: The engine's last decision; None while there is none.
        opening: The lines that say how the run begins; none by default.
        alarm: Says that the first trials of this start all failed, and why; empty otherwise.
        is_interrupted: Whether the running trials are being stopped, or were.
        was_over: Whether the experiment was over before this start, which runs nothing; its
            opening says how it ended.
        first: The trials that ended first since this start; at most `_FIRST`.
        ended: The number of trials that have ended, without those that were killed.
        running: The numbers of the trials that have not ended.
        numbers: The numbers of all trials, in the order in which they came.
    """

    experiment: Experiment
    rows: dict[int, Row]
    best: Best
    decision: Decision | None = None
    opening: tuple[str, ...] = ()
    alarm: str = ""
    is_interrupted: bool = False
    was_over: bool = False
    first: tuple[Trial, ...] = ()
    ended: int = 0
    running: set[int] = field(default_factory=set)
    numbers: list[int] = field(default_factory=list)

    @staticmethod
    def of(
        experiment: Experiment,
        trials: Sequence[Trial],
        opening: tuple[str, ...] = (),
        was_over: bool = False,
    ) -> Status:
        """Returns the status of an experiment before its first update."""
        return Status(
            experiment,
            {trial.number: Row(trial) for trial in trials},
            best_of(experiment.spec.objective, trials),
            opening=opening,
            was_over=was_over,
            ended=sum(trial.state.counts for trial in trials),
            running={trial.number for trial in trials if not trial.state.is_finished},
            numbers=[trial.number for trial in trials],
        )

    def after(self, update: Update) -> Status:
        """Returns the status after one update; the old one must not be used any more."""
        match update:
            case TrialStarted(trial) | TrialQueued(trial):
                return self._with(Row(trial))
            case TrialsTakenOver(trials):
                status = self
                for trial in trials:
                    ended = status._with(Row(trial))
                    status = replace(ended, best=status.best.with_trial(trial))
                return status
            case MetricReported(number, metric, point):
                if metric not in self.experiment.spec.objective.metric_names:
                    return self
                row = self.rows[number]
                return self._with(replace(row, latest={**row.latest, metric: point.value}))
            case TrialNotice(trial, text):
                row = self.rows.get(trial.number) or Row(trial)
                return self._with(replace(row, notice=text))
            case TrialEnded(trial):
                best = self.best.with_trial(trial)
                return replace(self._with(Row(trial)), best=best)._after_first(trial)
            case Interrupted():
                return replace(self, is_interrupted=True)
            case Decided(decision):
                return replace(self, decision=decision)

    def _after_first(self, trial: Trial) -> Status:
        """Returns the status in which a trial counts among the first ones, if it is one."""
        if len(self.first) == _FIRST or trial.state is TrialState.KILLED:
            return self
        first = (*self.first, trial)
        cause = same_cause(first) if len(first) == _FIRST else ""
        alarm = f"the first {_FIRST} trials failed in the same way: {cause}" if cause else ""
        return replace(self, first=first, alarm=alarm)

    def _with(self, row: Row) -> Status:
        # The old status shares what holds all trials: a copy for each report would cost too much.
        number = row.trial.number
        before = self.rows.get(number)
        self.rows[number] = row
        if before is None:
            self.numbers.append(number)
        if row.trial.state.is_finished:
            self.running.discard(number)
        else:
            self.running.add(number)
        more = row.trial.state.counts - (before is not None and before.trial.state.counts)
        return replace(self, ended=self.ended + more) if more else self

    @property
    def is_over(self) -> bool:
        """Whether no new trial begins: the experiment has ended, or is interrupted."""
        ended = self.decision is not None and self.decision.finished
        return ended or self.is_interrupted or self.was_over

    def is_best(self, trial: Trial) -> bool:
        """Returns whether a trial is the best one, or on the Pareto front."""
        return self.best.has(trial)

    @property
    def standing(self) -> str:
        """The best trials in words; empty while no trial is best."""
        return self.best.standing

    def table_row(self, row: Row, now: str | None = None) -> TableRow:
        """Returns a trial as a row of the table of trials.

        Args:
            row: The trial.
            now: The time (UTC, ISO 8601), to show how long a running trial has run; by default
                this is not shown.
        """
        objective, is_best = self.experiment.spec.objective, self.is_best(row.trial)
        return TableRow(
            row.trial,
            objective,
            is_best,
            None if self.is_interrupted else now,
            row.latest,
            row.notice,
            is_stopped=self.is_interrupted and row.trial.state is TrialState.RUNNING,
        )


def describe(status: Status, update: Update, left: str = "") -> str | None:
    """Returns an update as a line of text, or None if it is not worth a line.

    Args:
        status: The status after the update.
        update: The update.
        left: The time left, as the end of a sentence, for the line of a trial that ended.
    """
    match update:
        case TrialStarted(trial, resumed, anew):
            verb = "begun anew" if anew else "taken up again" if resumed else "started"
            return f"trial {trial.number} {verb}: {_assignments(trial)}"
        case TrialQueued(trial):
            return f"trial {trial.number} waits in a queue: {_assignments(trial)}"
        case TrialsTakenOver(trials):
            standing = f" ({status.standing})" if status.best.trials else ""
            return f"{len(trials)} trials of earlier runs count{standing}"
        case TrialNotice(trial, text):
            return f"trial {trial.number}: {text}".replace("\n", "\n  ")
        case TrialEnded(trial):
            text = f"trial {trial.number} {trial.state.lower()}{_seconds(trial)}"
            values = values_text(status.experiment.spec.objective, trial)
            if values:
                text += f": {values}"
            # The message may have many lines, so it comes last.
            text += f" ({status.standing})" if status.best.trials else ""
            text += left
            if trial.state is not TrialState.COMPLETE or trial.message:
                # A line of a message must not look like the line of another trial.
                text += f": {trial.reason}: {trial.message}".replace("\n", "\n  ")
            is_last = status.first[-1:] == (trial,)
            return f"{text}\n{status.alarm}" if status.alarm and is_last else text
        case Interrupted(text, running):
            stopped = f"{running} running trial{'' if running == 1 else 's'}"
            return f"{text}: {stopped} stopped" if running else text
        case Decided(decision):
            return None if status.was_over else f"{decision.reason}: {decision.message}"
        case _:
            return None


def _assignments(trial: Trial) -> str:
    return " ".join(
        visible(f"{name}={value}", lines=False) for name, value in trial.assignments.items()
    )


def _seconds(trial: Trial) -> str:
    return f" after {trial.duration:.1f} s" if trial.duration is not None else ""
