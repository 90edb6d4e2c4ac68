"""Decides from the trials so far whether an experiment goes on, and with how many new trials.

Source: Katib's ``pkg/controller.v1beta1/experiment/util/status_util.go`` (goal, failures, budget,
in this order) and ``experiment_controller.go`` (how many to add).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from katibflow.experiment import Experiment, Objective, ObjectiveType
from katibflow.history import Trial, TrialState, best_trial, objective_value

__all__ = [
    "FAILED",
    "GOAL_REACHED",
    "MAX_TRIALS_REACHED",
    "SUGGESTION_END_REACHED",
    "Decision",
    "decide",
    "used_up",
]

GOAL_REACHED = "ExperimentGoalReached"
MAX_TRIALS_REACHED = "ExperimentMaxTrialsReached"
SUGGESTION_END_REACHED = "ExperimentSuggestionEndReached"
FAILED = "ExperimentFailed"


@dataclass(frozen=True)
class Decision:
    """What comes next.

    Attributes:
        finished: Whether the experiment is over.
        succeeded: Whether it ended well; False while it goes on.
        reason: Katib's condition reason; empty while it goes on.
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
    trial whose objective is not finite ran to its end: it uses up the budget, is never best, and
    is no failure.
    """
    spec = experiment.spec
    trials = tuple(trials)
    failed = sum(trial.state is TrialState.FAIL for trial in trials)
    completed = sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL) for trial in trials
    )
    active = sum(trial.state is TrialState.RUNNING for trial in trials)
    best = best_trial(spec.objective, trials)
    best_value = objective_value(spec.objective, best) if best else None
    if best is not None and best_value is not None and _reached(spec.objective, best_value):
        return _end(
            GOAL_REACHED,
            f"trial {best.number} reached {spec.objective.objective_metric_name}={best_value:g}, "
            f"the goal is {spec.objective.goal:g}",
        )
    limit = spec.max_failed_trial_count
    if limit is not None and failed and failed >= limit:
        return _end(FAILED, f"{failed} trials failed, maxFailedTrialCount is {limit}", False)
    most = spec.max_trial_count
    if most is not None and completed >= most:
        return _end(MAX_TRIALS_REACHED, f"{completed} trials ended, maxTrialCount is {most}")
    room = spec.parallelism if most is None else min(spec.parallelism, most - completed)
    return Decision(False, False, "", "", max(0, room - active))


def used_up(why: str = "every combination of the search space was tried") -> Decision:
    """The end of an experiment whose algorithm has no suggestion left, and why that is so."""
    return _end(SUGGESTION_END_REACHED, why)


def _reached(objective: Objective, value: float) -> bool:
    if objective.goal is None or not math.isfinite(value):
        return False
    if objective.type is ObjectiveType.MINIMIZE:
        return value <= objective.goal
    return value >= objective.goal


def _end(reason: str, message: str, succeeded: bool = True) -> Decision:
    return Decision(True, succeeded, reason, message, 0)
