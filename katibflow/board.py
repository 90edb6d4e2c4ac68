"""What a person sees of a running experiment: the engine's updates, folded into one state."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from katibflow.decision import Decision
from katibflow.engine import (
    Decided,
    MetricReported,
    TrialEnded,
    TrialNotice,
    TrialStarted,
    Update,
)
from katibflow.experiment import Experiment
from katibflow.history import Trial, TrialState, best_trial, objective_value

__all__ = [
    "Board",
    "Row",
    "describe",
    "elapsed",
    "metric_text",
]


@dataclass(frozen=True)
class Row:
    """One trial as it stands.

    Attributes:
        trial: The trial; RUNNING until it ended.
        latest: The last value of the objective metric, while it runs.
        notice: The last notice about it.
    """

    trial: Trial
    latest: float | None = None
    notice: str = ""


@dataclass(frozen=True)
class Board:
    """All trials of an experiment and the best so far."""

    experiment: Experiment
    rows: dict[int, Row] = field(default_factory=dict)
    best: Trial | None = None
    decision: Decision | None = None

    @staticmethod
    def of(experiment: Experiment, trials: tuple[Trial, ...]) -> Board:
        """The board before anything happens."""
        return Board(
            experiment,
            {trial.number: Row(trial) for trial in trials},
            best_trial(experiment.spec.objective, trials),
        )

    def after(self, update: Update) -> Board:
        """The board after one update of the engine."""
        match update:
            case TrialStarted(trial):
                return self._with(Row(trial))
            case MetricReported(number, metric, point):
                if metric != self.experiment.spec.objective.objective_metric_name:
                    return self
                return self._with(replace(self.rows[number], latest=point.value))
            case TrialNotice(number, text):
                return self._with(replace(self.rows[number], notice=text))
            case TrialEnded(trial):
                known = [self.best, trial] if self.best else [trial]
                # The earlier trial wins a tie, whichever ended first.
                ordered = sorted(known, key=lambda each: each.number)
                best = best_trial(self.experiment.spec.objective, ordered)
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

    @property
    def best_value(self) -> float | None:
        """The objective of the best trial so far."""
        return objective_value(self.experiment.spec.objective, self.best) if self.best else None

    def value(self, row: Row) -> float | None:
        """What to show of a trial: its objective, or its last report while it runs."""
        if row.trial.state is TrialState.RUNNING:
            return row.latest
        return objective_value(self.experiment.spec.objective, row.trial)


def metric_text(value: float | None) -> str:
    """A metric's value with six digits; a dash for none."""
    return "-" if value is None else f"{value:.6g}"


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
            value = objective_value(board.experiment.spec.objective, trial)
            metric = board.experiment.spec.objective.objective_metric_name
            if value is not None:
                text += f": {metric}={metric_text(value)}"
            if trial.state is not TrialState.COMPLETE:
                text += f": {trial.reason}: {trial.message}"
            if board.best is not None:
                text += f" (best {metric_text(board.best_value)}, trial {board.best.number})"
            return text
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
    if trial.start is None:
        return None
    end = datetime.fromisoformat(trial.end) if trial.end else datetime.now(UTC)
    return max(0.0, (end - datetime.fromisoformat(trial.start)).total_seconds())
