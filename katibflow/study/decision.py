"""Decides from the trials so far whether an experiment goes on, and with how many new trials.

Source: Katib's ``pkg/controller.v1beta1/experiment/util/status_util.go`` (goal, failures, budget,
in this order) and ``experiment_controller.go`` (how many to add).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from katibflow.experiment.types import Experiment, Objective
from katibflow.study.history import Trial, TrialState
from katibflow.study.objectives import goals_met, goals_text, objective_values
from katibflow.study.reasons import ExperimentReason

__all__ = [
    "Decision",
    "decide",
    "used_up",
]


@dataclass(frozen=True)
class Decision:
    """What comes next.

    Attributes:
        finished: Whether the experiment is over.
        succeeded: Whether it ended well; False while it goes on.
        reason: An `ExperimentReason`, Katib's where it has one; empty while it goes on.
        message: The reason in a sentence, with its numbers.
        wanted: New trials to start now; 0 when finished.
    """

    finished: bool
    succeeded: bool
    reason: str
    message: str
    wanted: int


def decide(experiment: Experiment, trials: Iterable[Trial]) -> Decision:
    """The decision after ``trials``, running ones included.

    Killed trials count for nothing. Failed ones, and those without metrics, use up the budget. A
    trial whose objective is not finite, or that breaks a constraint, ran to its end: it uses up
    the budget, is never best, and is no failure. The goal is met when one trial meets the goals of
    all objectives that have one.
    """
    spec = experiment.spec
    trials = tuple(trials)
    failed = sum(trial.state is TrialState.FAIL for trial in trials)
    completed = sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL) for trial in trials
    )
    active = sum(trial.state is TrialState.RUNNING for trial in trials)
    winner = goals_met(spec.objective, trials)
    if winner is not None:
        return _end(ExperimentReason.GOAL_REACHED, _goals_reached(spec.objective, winner))
    limit = spec.max_failed_trial_count
    if limit is not None and failed and failed >= limit:
        return _end(
            ExperimentReason.FAILED,
            f"{failed} trials failed, maxFailedTrialCount is {limit}",
            False,
        )
    most = spec.max_trial_count
    if most is not None and completed >= most:
        return _end(
            ExperimentReason.MAX_TRIALS_REACHED,
            f"{completed} trials ended, maxTrialCount is {most}",
        )
    room = spec.parallelism if most is None else min(spec.parallelism, most - completed)
    return Decision(False, False, "", "", max(0, room - active))


def used_up(why: str = "every combination of the search space was tried") -> Decision:
    """The end of an experiment whose algorithm has no suggestion left, and why that is so."""
    return _end(ExperimentReason.SUGGESTION_END_REACHED, why)


def _goals_reached(objective: Objective, winner: Trial) -> str:
    paired = zip(objective.aims, objective_values(objective, winner), strict=True)
    met = [(aim, value) for aim, value in paired if aim.goal is not None]
    reached = " and ".join(f"{aim.metric}={value:g}" for aim, value in met)
    return f"trial {winner.number} reached {reached}, {goals_text(objective)}"


def _end(reason: ExperimentReason, message: str, succeeded: bool = True) -> Decision:
    return Decision(True, succeeded, reason, message, 0)
