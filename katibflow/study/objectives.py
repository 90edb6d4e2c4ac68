"""Computes trials' objective values, finds the best trials, and checks an Experiment's objective.

An Experiment has one objective or several: Katib's, and those of ``objective.goals``. With one
objective there is one best trial. With several the best trials are the Pareto front: the trials
that no other trial beats in one objective without losing in another. Only this module knows which
metrics are needed and how a value is written. `study.best` shows the best trials in words and as
data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import MetricConstraint, Objective
from katibflow.printing import visible
from katibflow.study.history import Trial, TrialState
from katibflow.study.reasons import TrialReason

__all__ = [
    "aims_texts",
    "beats",
    "best_trial",
    "best_trials",
    "differences",
    "faults",
    "finite_values",
    "found_text",
    "further_goals",
    "goals_met",
    "goals_text",
    "is_several",
    "losses",
    "meets_goals",
    "needed_metrics",
    "none_is_best",
    "objective_value",
    "objective_values",
    "reported_metric",
    "unacceptable",
    "value_text",
    "values_text",
    "violations",
]


def is_several(objective: Objective) -> bool:
    """Returns whether there are several objectives, and so a front instead of one best trial."""
    return len(objective.aims) > 1


def reported_metric(objective: Objective) -> str:
    """Returns the metric of the first objective, whose single reports the history holds."""
    return objective.aims[0].metric


def value_text(value: float | None) -> str:
    """Returns a metric's value with six digits, or a dash for None."""
    return "-" if value is None else f"{value:.6g}"


def values_text(objective: Objective, trial: Trial) -> str:
    """Returns a trial's objectives as "loss=0.1 latency=4", without those that have no value."""
    if found := found_text(objective, trial):
        return f"{reported_metric(objective)}={found}"
    paired = zip(objective.aims, objective_values(objective, trial), strict=True)
    return " ".join(
        f"{visible(aim.metric, lines=False)}={value_text(value)}"
        for aim, value in paired
        if value is not None
    )


def goals_text(objective: Objective) -> str:
    """Returns the goals as "the goals are 0.1 and 4", or an empty text if there is no goal."""
    goals = [value_text(aim.goal) for aim in objective.aims if aim.goal is not None]
    return f"the goal{'s are' if goals[1:] else ' is'} {' and '.join(goals)}" if goals else ""


def aims_texts(objective: Objective) -> list[str]:
    """Returns a text for each objective and constraint, as "minimize loss, goal 0.1"."""
    aims = [
        f"{aim.type.value} {aim.metric}"
        + (f", goal {value_text(aim.goal)}" if aim.goal is not None else "")
        for aim in objective.aims
    ]
    limits = []
    for entry in objective.constraints:
        bounds = (("at least", entry.min), ("at most", entry.max))
        given = [f"{words} {value_text(bound)}" for words, bound in bounds if bound is not None]
        limits.append(f"{entry.name} {' and '.join(given)}")
    return aims + limits


def _value(objective: Objective, metric: str, trial: Trial) -> float | None:
    observation = trial.observations.get(metric)
    return None if observation is None else observation.value(objective.strategy(metric))


def objective_value(objective: Objective, trial: Trial) -> float | None:
    """Returns a trial's value of the first objective by its metric strategy, or None.

    The value may be NaN or infinite. Running, failed and killed trials have None.
    """
    return objective_values(objective, trial)[0]


def objective_values(objective: Objective, trial: Trial) -> tuple[float | None, ...]:
    """Returns a trial's value of each objective; see `objective_value`."""
    if not _ended(trial):
        return (None,) * len(objective.aims)
    return tuple([_value(objective, aim.metric, trial) for aim in objective.aims])


def _ended(trial: Trial) -> bool:
    """Returns whether a trial may have values: it has ended, and neither failed nor was killed."""
    return trial.state is TrialState.COMPLETE or trial.state is TrialState.PRUNED


def found_text(objective: Objective, trial: Trial) -> str:
    """Returns what an ended trial reported as its objective if that is a text, or ""."""
    seen = trial.observations.get(reported_metric(objective))
    return seen.text if _ended(trial) and seen is not None and not is_several(objective) else ""


def finite_values(objective: Objective, trial: Trial) -> tuple[float, ...] | None:
    """Returns a trial's value of each objective, or None if one is missing or not finite."""
    if not _ended(trial):
        return None
    finite: list[float] = []
    for aim in objective.aims:
        value = _value(objective, aim.metric, trial)
        if value is None or not math.isfinite(value):
            return None
        finite.append(value)
    return tuple(finite)


def needed_metrics(objective: Objective) -> tuple[str, ...]:
    """Returns the metrics that a trial must report: those of objectives and of constraints."""
    constrained = (entry.name for entry in objective.constraints)
    return tuple(dict.fromkeys([*(aim.metric for aim in objective.aims), *constrained]))


def further_goals(objective: Objective) -> Mapping[str, float | None]:
    """Returns the goals of the objectives beside the first one, by metric."""
    return {entry.name: entry.goal for entry in objective.goals}


def violations(objective: Objective, trial: Trial) -> Mapping[str, float] | None:
    """Returns by metric how far a trial is beyond the constraint; 0 or less if the trial meets it.

    Returns None if a metric with a constraint is missing or not finite.
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


def unacceptable(objective: Objective, trial: Trial) -> tuple[TrialReason, str] | None:
    """Returns why an ended trial is never best, a reason and a sentence, or None if it may be."""
    if found_text(objective, trial):
        return None
    for aim, value in zip(objective.aims, objective_values(objective, trial), strict=True):
        if value is None or not math.isfinite(value):
            text = f"{aim.metric} is {value}; such a trial is never best"
            return TrialReason.OBJECTIVE_NOT_FINITE, text
    broken = ", ".join(_broken_constraints(objective, trial))
    if broken:
        return TrialReason.CONSTRAINT_BROKEN, f"{broken}; such a trial is never best"
    return None


def _broken_constraints(objective: Objective, trial: Trial) -> Iterator[str]:
    """Yields a text for each constraint that an ended trial does not meet."""
    for entry in objective.constraints:
        value = _value(objective, entry.name, trial)
        if value is None or not math.isfinite(value):
            yield f"{entry.name} is {value}"
        elif entry.max is not None and value > entry.max:
            yield f"{entry.name} is {value:g}, above its max of {entry.max:g}"
        elif entry.min is not None and value < entry.min:
            yield f"{entry.name} is {value:g}, below its min of {entry.min:g}"


def losses(objective: Objective, trial: Trial) -> tuple[float, ...] | None:
    """Returns the objectives so that smaller is better, or None if the trial cannot be best."""
    values = finite_values(objective, trial)
    if values is None:
        return None
    if objective.constraints and next(_broken_constraints(objective, trial), None) is not None:
        return None
    return tuple([aim.sign * value for aim, value in zip(objective.aims, values, strict=True)])


def best_trial(objective: Objective, trials: Iterable[Trial]) -> Trial | None:
    """Returns the best trial of one objective, the earlier one on a tie, or None if none is best.

    Source: Katib's status_util.go compares strictly, so the first best trial wins. In Katib a value
    that is not finite can be optimal; here it never is, on purpose.
    """
    return next(iter(best_trials(objective, trials)), None)


def best_trials(objective: Objective, trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Returns the best trials: at most one with one objective, the Pareto front with several.

    A trial is never best if an objective is missing or not finite, or if it breaks a constraint.
    Texts compare with nothing: where no trial has a number, the first one with a text is best.
    Trials with the same values are all on the front. The front is ordered by the first objective,
    the best trial first.
    """
    trials = tuple(trials)
    scored = [(found, trial) for trial in trials if (found := losses(objective, trial)) is not None]
    if not is_several(objective):
        if scored:
            return (min(scored, key=lambda each: each[0])[1],)
        return next(((trial,) for trial in trials if found_text(objective, trial)), ())
    front: list[tuple[tuple[float, ...], Trial]] = []
    # In this order no trial is beaten by a later one. If an earlier one beats it, then so does a
    # trial of the front so far.
    for found, trial in sorted(scored, key=lambda each: each[0]):
        if not any(beats(other, found) for other, _ in front):
            front.append((found, trial))
    return tuple(trial for _, trial in front)


def beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Returns whether losses are as good as others in each objective, and better in one."""
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def goals_met(objective: Objective, trials: Iterable[Trial]) -> Trial | None:
    """Returns the trial that meets all goals and is best in the first objective, or None."""
    if all(aim.goal is None for aim in objective.aims):
        return None
    # If any trial meets the goals, a best trial does, too: it is as good in each objective.
    best = best_trials(objective, trials)
    return next((trial for trial in best if meets_goals(objective, trial)), None)


def meets_goals(objective: Objective, trial: Trial) -> bool:
    """Returns whether a trial meets the goals of all objectives that have one, and one has."""
    aims = objective.aims
    values = finite_values(objective, trial)
    if values is None or all(aim.goal is None for aim in aims):
        return False
    paired = zip(aims, values, strict=True)
    return all(aim.goal is None or aim.reached(value) for aim, value in paired)


def none_is_best(objective: Objective) -> str:
    """Returns the reason why no trial is best, as a sentence without a full stop."""
    several = is_several(objective)
    what = "finite values of all objectives" if several else "a finite objective value"
    also = " and meets the constraints" if objective.constraints else ""
    return f"no trial has {what}{also}"


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the objective's metrics, strategies, goals and constraints."""
    objective = parts.objective
    if objective is None:
        return
    yield from _metric_faults(objective)
    yield from _goal_faults(objective)
    yield from _constraint_faults(objective)


_WHERE = "spec.objective"


def _metric_faults(objective: Objective) -> Iterator[Fault]:
    names = objective.additional_metric_names
    if objective.objective_metric_name in names:
        yield Fault(
            f"{_WHERE}.additionalMetricNames",
            f'"{objective.objective_metric_name}"',
            "metrics other than objectiveMetricName",
        )
    seen: set[str] = set()
    for index, strategy in enumerate(objective.metric_strategies):
        path = f"{_WHERE}.metricStrategies[{index}].name"
        if strategy.name not in objective.metric_names:
            yield Fault(path, f'"{strategy.name}"', ", ".join(objective.metric_names))
        if strategy.name in seen:
            yield Fault(path, f'"{strategy.name}" again', "each metric once")
        seen.add(strategy.name)


def _goal_faults(objective: Objective) -> Iterator[Fault]:
    names = objective.additional_metric_names
    seen: set[str] = set()
    for index, goal in enumerate(objective.goals):
        path = f"{_WHERE}.goals[{index}].name"
        if goal.name in seen:
            yield Fault(path, f'"{goal.name}" again', "each metric once")
        elif goal.name == objective.objective_metric_name:
            yield Fault(path, f'"{goal.name}", which is objectiveMetricName', _listed(names))
        elif goal.name not in names:
            yield Fault(path, f'"{goal.name}"', _listed(names))
        seen.add(goal.name)


def _constraint_faults(objective: Objective) -> Iterator[Fault]:
    seen: set[str] = set()
    for index, entry in enumerate(objective.constraints):
        path = f"{_WHERE}.constraints[{index}]"
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


def differences(new: Objective, old: Objective, why: str) -> Iterator[Fault]:
    """Yields the differences because of which old trials do not count for a new objective.

    The value of a goal may differ.

    Args:
        new: The objective of the new Experiment.
        old: The objective of the trials.
        why: The end of each fault's ``allowed``.
    """
    metric, then_metric = reported_metric(new), reported_metric(old)
    if new.type is not old.type:
        yield Fault("spec.objective.type", new.type, f"{old.type}{why}")
    if metric != then_metric:
        yield Fault("spec.objective.objectiveMetricName", metric, f"{then_metric}{why}")
    elif new.strategy(metric) is not old.strategy(metric):
        yield Fault(
            "spec.objective.metricStrategies",
            new.strategy(metric),
            f"{old.strategy(metric)} for {metric}{why}",
        )
    goals = [(goal.name, goal.type) for goal in new.goals]
    then_goals = [(goal.name, goal.type) for goal in old.goals]
    if goals != then_goals:
        yield Fault("spec.objective.goals", _pairs(goals), f"{_pairs(then_goals)}{why}")
    found, then = _limits(new), _limits(old)
    if found != then:
        yield Fault("spec.objective.constraints", found, f"{then}{why}")
    for name in needed_metrics(new):
        now, before = new.strategy(name), old.strategy(name)
        if name != metric and now is not before:
            path = "spec.objective.metricStrategies"
            yield Fault(path, f"{now} for {name}", f"{before} for {name}{why}")


def _pairs(goals: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{kind} {name}" for name, kind in goals) or "none"


def _limits(objective: Objective) -> str:
    limits = [entry.model_dump_json(exclude_none=True) for entry in objective.constraints]
    return ", ".join(limits) or "none"
