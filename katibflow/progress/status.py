"""What a person sees of a running experiment: the engine's updates, folded into one state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from katibflow.engine.events import (
    Decided,
    MetricReported,
    TrialEnded,
    TrialNotice,
    TrialStarted,
    Update,
)
from katibflow.experiment.types import Experiment, Objective
from katibflow.study.decision import Decision
from katibflow.study.history import Trial, TrialState, time_text
from katibflow.study.objectives import best_trials, objective_value, objective_values

__all__ = [
    "Board",
    "Row",
    "describe",
    "elapsed",
    "metric_text",
    "values_text",
]


@dataclass(frozen=True)
class Row:
    """One trial as it stands.

    Attributes:
        trial: The trial; RUNNING until it ended.
        latest: The last value of each objective's metric, by its name, while it runs.
        notice: The last notice about it.
    """

    trial: Trial
    latest: Mapping[str, float] = field(default_factory=dict)
    notice: str = ""


@dataclass(frozen=True)
class Board:
    """All trials of an experiment, and the best so far: one, or the Pareto front."""

    experiment: Experiment
    rows: dict[int, Row] = field(default_factory=dict)
    best: tuple[Trial, ...] = ()
    decision: Decision | None = None

    @staticmethod
    def of(experiment: Experiment, trials: tuple[Trial, ...]) -> Board:
        """The board before anything happens."""
        return Board(
            experiment,
            {trial.number: Row(trial) for trial in trials},
            best_trials(experiment.spec.objective, trials),
        )

    def after(self, update: Update) -> Board:
        """The board after one update of the engine."""
        match update:
            case TrialStarted(trial):
                return self._with(Row(trial))
            case MetricReported(number, metric, point):
                if all(metric != aim.metric for aim in self.experiment.spec.objective.aims):
                    return self
                row = self.rows[number]
                return self._with(replace(row, latest={**row.latest, metric: point.value}))
            case TrialNotice(number, text):
                return self._with(replace(self.rows[number], notice=text))
            case TrialEnded(trial):
                # The earlier trial wins a tie, whichever ended first.
                ordered = sorted([*self.best, trial], key=lambda each: each.number)
                best = best_trials(self.experiment.spec.objective, ordered)
                return replace(self._with(Row(trial)), best=best)
            case Decided(decision):
                return replace(self, decision=decision)

    def _with(self, row: Row) -> Board:
        # The dictionary is shared: a board is a value to its readers, and they keep no old ones.
        self.rows[row.trial.number] = row
        return self

    @property
    def ended(self) -> int:
        """Trials that ended and count."""
        return sum(
            row.trial.state not in (TrialState.RUNNING, TrialState.KILLED)
            for row in self.rows.values()
        )

    def is_best(self, trial: Trial) -> bool:
        """Whether a trial is the best one, or on the front."""
        return any(best.number == trial.number for best in self.best)

    @property
    def standing(self) -> str:
        """The best trials in words; empty while there is none."""
        objective = self.experiment.spec.objective
        if not self.best:
            return ""
        if len(objective.aims) > 1:
            numbers = ", ".join(str(trial.number) for trial in self.best)
            return f"Pareto front: trial{'s' if self.best[1:] else ''} {numbers}"
        value = objective_value(objective, self.best[0])
        metric = objective.objective_metric_name
        return f"best {metric}={metric_text(value)} in trial {self.best[0].number}"

    def values(self, row: Row) -> tuple[float | None, ...]:
        """What to show of a trial: its objectives, or their last reports while it runs."""
        objective = self.experiment.spec.objective
        if row.trial.state is TrialState.RUNNING:
            return tuple(row.latest.get(aim.metric) for aim in objective.aims)
        return objective_values(objective, row.trial)


def metric_text(value: float | None) -> str:
    """A metric's value with six digits; a dash for none."""
    return "-" if value is None else f"{value:.6g}"


def values_text(objective: Objective, trial: Trial) -> str:
    """An ended trial's objectives, as loss=0.1 latency=4; those that it has not are left out."""
    paired = zip(objective.aims, objective_values(objective, trial), strict=True)
    return " ".join(
        f"{aim.metric}={metric_text(value)}" for aim, value in paired if value is not None
    )


def describe(board: Board, update: Update) -> str | None:
    """One update as a line of text; None for what is not worth one.

    Args:
        board: The board after the update.
        update: What happened.
    """
    match update:
        case TrialStarted(trial, resumed):
            verb = "taken up again" if resumed else "started"
            return f"trial {trial.number} {verb}: {_assignments(trial)}"
        case TrialNotice(number, text):
            return f"trial {number}: {text}"
        case TrialEnded(trial):
            text = f"trial {trial.number} {trial.state.lower()}{_seconds(trial)}"
            told = values_text(board.experiment.spec.objective, trial)
            if told:
                text += f": {told}"
            if trial.state is not TrialState.COMPLETE or trial.message:
                text += f": {trial.reason}: {trial.message}"
            return text + (f" ({board.standing})" if board.best else "")
        case Decided(decision):
            return f"{decision.reason}: {decision.message}"
        case _:
            return None


def _assignments(trial: Trial) -> str:
    return " ".join(f"{name}={value}" for name, value in trial.assignments.items())


def _seconds(trial: Trial) -> str:
    length = elapsed(trial)
    return f" after {length:.1f} s" if length is not None else ""


def elapsed(trial: Trial) -> float | None:
    """Seconds from a trial's start to its end, or to now; None if it has no start."""
    return replace(trial, end=trial.end or time_text(datetime.now(UTC))).duration
