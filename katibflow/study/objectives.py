"""What the objectives make of trials: their values, which are acceptable, and which are best.

With one objective there is one best trial. With several (``objective.goals``) the best are the
Pareto front: the trials that no other one beats in one objective without losing in another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import MetricConstraint, Objective
from katibflow.study.history import Trial, TrialState

__all__ = [
    "best_trial",
    "best_trials",
    "broken_constraints",
    "faults",
    "finite_values",
    "goals_met",
    "needed_metrics",
    "none_is_best",
    "objective_value",
    "objective_values",
    "violations",
]


def _value(objective: Objective, metric: str, trial: Trial) -> float | None:
    observation = trial.observations.get(metric)
    return None if observation is None else observation.value(objective.strategy(metric))


def objective_value(objective: Objective, trial: Trial) -> float | None:
    """The (first) objective of a trial by its metric strategy; None when there is none.

    May be NaN or infinite. Running, failed and killed trials have none.
    """
    return objective_values(objective, trial)[0]


def objective_values(objective: Objective, trial: Trial) -> tuple[float | None, ...]:
    """As `objective_value`, of each objective."""
    ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return tuple(_value(objective, aim.metric, trial) if ended else None for aim in objective.aims)


def finite_values(objective: Objective, trial: Trial) -> tuple[float, ...] | None:
    """The value of each objective; None if one of them is missing or not finite."""
    values = objective_values(objective, trial)
    finite = tuple(value for value in values if value is not None and math.isfinite(value))
    return finite if len(finite) == len(values) else None


def needed_metrics(objective: Objective) -> tuple[str, ...]:
    """The metrics that a trial must report: the objectives', and those of the constraints."""
    constrained = (entry.name for entry in objective.constraints)
    return tuple(dict.fromkeys([*(aim.metric for aim in objective.aims), *constrained]))


def violations(objective: Objective, trial: Trial) -> Mapping[str, float] | None:
    """By metric how far a trial is beyond its constraint, 0 or less if it is not.

    None if a metric that has one is missing or not finite.
    """
    found: dict[str, float] = {}
    for entry in objective.constraints:
        value = _value(objective, entry.name, trial)
        if value is None or not math.isfinite(value):
            return None
        found[entry.name] = _excess(entry, value)
    return found


def _excess(entry: MetricConstraint, value: float) -> float:
    above = -math.inf if entry.max is None else value - entry.max
    below = -math.inf if entry.min is None else entry.min - value
    return max(above, below)


def broken_constraints(objective: Objective, trial: Trial) -> Iterator[str]:
    """Which constraints an ended trial does not meet, each in words."""
    for entry in objective.constraints:
        value = _value(objective, entry.name, trial)
        if value is None or not math.isfinite(value):
            yield f"{entry.name} is {value}"
        elif entry.max is not None and value > entry.max:
            yield f"{entry.name} is {value:g}, above its max of {entry.max:g}"
        elif entry.min is not None and value < entry.min:
            yield f"{entry.name} is {value:g}, below its min of {entry.min:g}"


def _losses(objective: Objective, trial: Trial) -> tuple[float, ...] | None:
    """The objectives, the smaller the better; None of a trial that may not be best."""
    values = finite_values(objective, trial)
    if values is None or next(broken_constraints(objective, trial), None) is not None:
        return None
    return tuple(aim.sign * value for aim, value in zip(objective.aims, values, strict=True))


def best_trial(objective: Objective, trials: Iterable[Trial]) -> Trial | None:
    """The optimal trial of one objective: the earlier one on a tie; None if there is none.

    Source: Katib's status_util.go compares strictly, so the first best wins; values that are not
    finite are left out here on purpose (in Katib they become optimal).
    """
    return next(iter(best_trials(objective, trials)), None)


def best_trials(objective: Objective, trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """The best trials: at most one with one objective, with several the Pareto front.

    A trial with an objective that is missing or not finite, or that breaks a constraint, is never
    among them. Trials with the same values are all on the front. The front begins with the trial
    that is best in the first objective, and ends with that which is worst in it.
    """
    scored = [
        (losses, trial) for trial in trials if (losses := _losses(objective, trial)) is not None
    ]
    if len(objective.aims) == 1:
        return (min(scored, key=lambda each: each[0])[1],) if scored else ()
    front: list[tuple[tuple[float, ...], Trial]] = []
    # In this order none is beaten by a later one, and what beats it is, or is beaten by, one of
    # the front so far.
    for losses, trial in sorted(scored, key=lambda each: each[0]):
        if not any(_beats(other, losses) for other, _ in front):
            front.append((losses, trial))
    return tuple(trial for _, trial in front)


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def goals_met(objective: Objective, trials: Iterable[Trial]) -> Trial | None:
    """A trial that meets every goal there is, the best one in the first objective, if any does."""
    aims = objective.aims
    if all(aim.goal is None for aim in aims):
        return None
    # If any trial meets them, so does one of the best: it is as good in each objective.
    for trial in best_trials(objective, trials):
        paired = zip(aims, finite_values(objective, trial) or (), strict=True)
        if all(aim.goal is None or aim.reached(value) for aim, value in paired):
            return trial
    return None


def none_is_best(objective: Objective) -> str:
    """Why there is no best trial, in a sentence without a full stop."""
    what = "finite values of all objectives" if objective.goals else "a finite objective value"
    also = " and meets the constraints" if objective.constraints else ""
    return f"no trial has {what}{also}"


def faults(parts: Parts) -> Iterator[Fault]:
    """What is wrong with the goals and the constraints of the objective."""
    objective = parts.objective
    if objective is None:
        return
    where = "spec.objective"
    names = objective.additional_metric_names
    seen: set[str] = set()
    for index, goal in enumerate(objective.goals):
        path = f"{where}.goals[{index}].name"
        if goal.name in seen:
            yield Fault(path, f'"{goal.name}" again', "each metric once")
        elif goal.name == objective.objective_metric_name:
            yield Fault(path, f'"{goal.name}", which is objectiveMetricName', _listed(names))
        elif goal.name not in names:
            yield Fault(path, f'"{goal.name}"', _listed(names))
        seen.add(goal.name)
    seen.clear()
    for index, entry in enumerate(objective.constraints):
        path = f"{where}.constraints[{index}]"
        if entry.name in seen:
            yield Fault(f"{path}.name", f'"{entry.name}" again', "each metric once")
        elif entry.name not in objective.metric_names:
            yield Fault(f"{path}.name", f'"{entry.name}"', ", ".join(objective.metric_names))
        seen.add(entry.name)
        if entry.min is None and entry.max is None:
            yield Fault(path, "neither min nor max", "one of them, or both")
        elif entry.min is not None and entry.max is not None and entry.min > entry.max:
            yield Fault(f"{path}.max", f"{entry.max:g}", f"at least min, {entry.min:g}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "a metric that additionalMetricNames has, which is empty"
