"""Decides from the trials so far whether an experiment goes on, and with how many new trials.

The engine acts on the decision; this module starts and stops nothing.

Source: Katib's ``pkg/controller.v1beta1/experiment/util/status_util.go`` (goal, failures, budget,
in this order) and ``experiment_controller.go`` (how many to add).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from katibflow.experiment.types import Experiment, Objective
from katibflow.printing import counted
from katibflow.study.history import Trial, TrialState
from katibflow.study.objectives import goals_met, goals_text, objective_values
from katibflow.study.reasons import ExperimentReason

__all__ = ["Counts", "Decision", "decide", "decision_of", "used_up"]


@dataclass(frozen=True)
class Decision:
    """Says whether an experiment goes on, and with how many new trials.

    Attributes:
        finished: Whether the experiment is over.
        succeeded: Whether the experiment succeeded; False while it goes on.
        reason: An `ExperimentReason`; empty while the experiment goes on.
        message: The reason as a sentence, with its numbers; empty while the experiment goes on.
        wanted: The number of new trials to start now; 0 if the experiment is over.
    """

    finished: bool
    succeeded: bool
    reason: str
    message: str
    wanted: int


@dataclass(frozen=True)
class Counts:
    """How many trials use up the budget, how many of them failed, and how many run.

    Attributes:
        completed: Trials that have ended; killed ones do not count.
        failed: Those of them that failed.
        active: Trials that have not ended.
    """

    completed: int = 0
    failed: int = 0
    active: int = 0

    @staticmethod
    def of(trials: Iterable[Trial]) -> Counts:
        """Returns the counts of some trials."""
        states = Counter(trial.state for trial in trials)
        completed = sum(count for state, count in states.items() if state.counts)
        return Counts(completed, states[TrialState.FAIL], states[TrialState.RUNNING])

    def after(self, before: Trial | None, trial: Trial) -> Counts:
        """Returns the counts once a trial has taken the place of the one before it, if any."""
        old, new = None if before is None else before.state, trial.state
        if old is new:
            return self
        return Counts(
            self.completed + new.counts - (old is not None and old.counts),
            self.failed + (new is TrialState.FAIL) - (old is TrialState.FAIL),
            self.active + (new is TrialState.RUNNING) - (old is TrialState.RUNNING),
        )


def decide(experiment: Experiment, trials: Iterable[Trial]) -> Decision:
    """Returns the decision after the trials so far.

    Killed trials do not count. Failed trials, and those without metrics, use up the budget. A trial
    whose objective is not finite, or that breaks a constraint, uses up the budget, is never best,
    and is no failure. The goal is reached when one trial meets the goals of all objectives that
    have a goal.

    Args:
        experiment: The experiment.
        trials: All its trials, also the running ones.
    """
    trials = tuple(trials)
    winner = goals_met(experiment.spec.objective, trials)
    return decision_of(experiment, Counts.of(trials), winner)


def decision_of(experiment: Experiment, counts: Counts, winner: Trial | None) -> Decision:
    """Returns the decision from what is known of all trials; see `decide`.

    Args:
        experiment: The experiment.
        counts: How many trials are in which state.
        winner: The best trial that meets all goals; None if none does.
    """
    spec = experiment.spec
    failed, completed, active = counts.failed, counts.completed, counts.active
    if winner is not None:
        return _end(ExperimentReason.GOAL_REACHED, _goals_reached(spec.objective, winner))
    limit = spec.max_failed_trial_count
    if limit is not None and failed and failed >= limit:
        return _end(
            ExperimentReason.FAILED,
            f"{counted(failed, 'trial')} failed, maxFailedTrialCount is {limit}",
            False,
        )
    most = spec.max_trial_count
    if most is not None and completed >= most:
        return _end(
            ExperimentReason.MAX_TRIALS_REACHED,
            f"{counted(completed, 'trial')} ended, maxTrialCount is {most}",
        )
    room = spec.parallelism if most is None else min(spec.parallelism, most - completed)
    return Decision(False, False, "", "", max(0, room - active))


def used_up(why: str = "every combination of the search space was tried") -> Decision:
    """Returns the end of an experiment whose algorithm has no more suggestions.

    Args:
        why: The reason as a sentence without a full stop.
    """
    return _end(ExperimentReason.SUGGESTION_END_REACHED, why)


def _goals_reached(objective: Objective, winner: Trial) -> str:
    paired = zip(objective.aims, objective_values(objective, winner), strict=True)
    met = [(aim, value) for aim, value in paired if aim.goal is not None]
    reached = " and ".join(f"{aim.metric}={value:g}" for aim, value in met)
    return f"trial {winner.number} reached {reached}, {goals_text(objective)}"


def _end(reason: ExperimentReason, message: str, succeeded: bool = True) -> Decision:
    return Decision(True, succeeded, reason, message, 0)
