"""Tests suggestions for several objectives and under constraints, by every algorithm that can."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
import pytest
from optuna._hypervolume import compute_hypervolume

from katibflow.experiment.types import Experiment
from katibflow.study.history import (
    History,
    Observation,
    Trial,
    TrialState,
    dump_history,
    load_history,
)
from katibflow.study.objectives import best_trial, best_trials, objective_values
from katibflow.study.optuna_study import quiet_optuna
from katibflow.suggestion.space.search_space import space_of
from katibflow.suggestion.suggester import Suggester, Suggestion, is_used_up, suggest
from tests.searching import MIXED, SMALL, experiment, history, mixed_loss, running
from tests.unit.suggestion.algorithms.test_samplers import COUNTABLE

TWO = {
    "type": "minimize",
    "objectiveMetricName": "loss",
    "additionalMetricNames": ["size"],
    "goals": [{"name": "size", "type": "maximize"}],
}
LIMITED = {
    "type": "minimize",
    "objectiveMetricName": "loss",
    "additionalMetricNames": ["size"],
    "constraints": [{"name": "size", "max": 5}],
}


@dataclass(frozen=True)
class Case:
    algorithm: str
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: tuple[dict[str, Any], ...] = tuple(MIXED)

    def experiment(self, objective: Mapping[str, Any]) -> Experiment:
        return experiment(self.algorithm, self.parameters, self.settings, objective=dict(objective))


CASES = [
    Case("auto"),
    Case("random"),
    Case("grid", parameters=tuple(COUNTABLE)),
    Case("sobol"),
    Case("tpe"),
    Case("multivariate-tpe", {"n_startup_trials": "5"}),
    pytest.param(
        Case("bayesianoptimization", {"n_initial_points": "4"}), marks=pytest.mark.long, id="gp"
    ),
    Case("optuna:TPESampler", {"n_startup_trials": "5"}),
    Case("optuna:NSGAIISampler", {"population_size": "6"}),
    Case("optuna:NSGAIIISampler", {"population_size": "6"}),
    Case("optuna:QMCSampler"),
    Case("optuna:RandomSampler"),
]

Values = Callable[[Mapping[str, str]], Mapping[str, float]]


def mixed(assignments: Mapping[str, str]) -> dict[str, float]:
    return {"loss": mixed_loss(assignments), "size": float(assignments["layers"])}


def ended(number: int, suggestion: Suggestion, metrics: Mapping[str, float]) -> Trial:
    return Trial(
        number,
        TrialState.COMPLETE,
        suggestion.assignments,
        {name: Observation(value, value, value) for name, value in metrics.items()},
        attributes=suggestion.attributes,
    )


def searched(
    of: Experiment, count: int, values: Values, *, seed: int = 1, batch: int = 1
) -> History:
    made, suggester = history(of, seed), Suggester(of)
    while len(made.trials) < count:
        suggestions = suggester.suggest(made, min(batch, count - len(made.trials)))
        if not suggestions:
            break
        made = made.with_trials(
            ended(made.next_number + index, suggestion, values(suggestion.assignments))
            for index, suggestion in enumerate(suggestions)
        )
    return made


def reread(of: History) -> History:
    return load_history(dump_history(of))


@pytest.mark.slow
@pytest.mark.parametrize("objective", [TWO, LIMITED], ids=["two objectives", "constraint"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.algorithm)
class TestAnyAlgorithm:
    def test_it_is_the_same_rebuilt_and_live_and_inside_the_space(
        self, case: Case, objective: Mapping[str, Any]
    ) -> None:
        of = case.experiment(objective)
        space = space_of(of.spec.parameters)
        live, made = Suggester(of), history(of)
        for _ in range(12):
            suggestions = live.suggest(made, 2)
            assert suggestions == suggest(reread(made), 2)
            json.dumps([dict(suggestion.attributes) for suggestion in suggestions])
            assert all(space.numbers(s.assignments) is not None for s in suggestions)
            made = made.with_trials(
                ended(made.next_number + index, s, mixed(s.assignments))
                for index, s in enumerate(suggestions)
            )

    def test_trials_without_a_value_do_not_break_it(
        self, case: Case, objective: Mapping[str, Any]
    ) -> None:
        made = history(case.experiment(objective))
        bad: list[dict[str, float]] = [
            {"loss": 1.0},
            {"loss": math.nan, "size": 1.0},
            {"loss": 1.0, "size": math.inf},
            {},
        ]
        for number in range(24):
            [suggestion] = suggest(made, 1)
            metrics = mixed(suggestion.assignments) if number % 2 else bad[number // 2 % 4]
            made = made.with_trials([ended(number, suggestion, metrics)])
        assert len(suggest(made, 2)) == 2

    def test_running_trials_are_not_suggested_again_in_a_finite_space(
        self, case: Case, objective: Mapping[str, Any]
    ) -> None:
        of = experiment(case.algorithm, SMALL, case.settings, objective=dict(objective))
        made = history(of)
        first = suggest(made, 4)
        made = made.with_trials(running(number, s) for number, s in enumerate(first))
        rest = suggest(made, 9)
        seen = [tuple(s.assignments.items()) for s in (*first, *rest)]
        assert len(seen) == len({*seen}) == 9
        made = made.with_trials(
            running(made.next_number + index, s) for index, s in enumerate(rest)
        )
        assert is_used_up(made) and suggest(made, 1) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "algorithm", ["tpe", "multivariate-tpe", "optuna:NSGAIISampler", "optuna:NSGAIIISampler"]
)
def test_a_constrained_search_learns_where_it_may_be(algorithm: str) -> None:
    """The best loss lies where it is not allowed; the allowed region is a tenth of the space."""
    settings = {"population_size": "10"} if "NSGA" in algorithm else {}
    space = {"min": "0", "max": "1"}
    parameters = [
        {"name": name, "parameterType": "double", "feasibleSpace": space} for name in ("x", "y")
    ]
    of = experiment(
        algorithm,
        parameters,
        settings,
        objective={**LIMITED, "constraints": [{"name": "size", "max": 0.1}]},
    )

    def values(assignments: Mapping[str, str]) -> dict[str, float]:
        x, y = float(assignments["x"]), float(assignments["y"])
        return {"loss": (1 - x) ** 2 + (y - 0.5) ** 2, "size": x}

    allowed = []
    for seed in range(3):
        made = searched(of, 100, values, seed=seed)
        late = made.trials[50:]
        allowed.append(sum(float(trial.assignments["x"]) <= 0.1 for trial in late) / len(late))
        best = best_trial(of.spec.objective, made.trials)
        assert best is not None and float(best.assignments["x"]) <= 0.1
    assert statistics.mean(allowed) > 0.3


def _zdt1(assignments: Mapping[str, str]) -> tuple[float, float]:
    """Source: Zitzler, Deb and Thiele, Comparison of multiobjective evolutionary algorithms."""
    x = [float(value) for value in assignments.values()]
    g = 1 + 9 * sum(x[1:]) / (len(x) - 1)
    return x[0], g * (1 - math.sqrt(x[0] / g))


def _volume(points: list[tuple[float, float]]) -> float:
    """Returns the hypervolume to (1.1, 7)."""
    import numpy

    inside = [point for point in points if point[0] <= 1.1 and point[1] <= 7]
    return float(compute_hypervolume(numpy.array(inside), numpy.array([1.1, 7.0])))


ZDT = [
    {"name": f"x{index}", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
    for index in range(4)
]


def _ours(algorithm: str, settings: Mapping[str, str], budget: int, seed: int) -> float:
    goals = [{"name": "size", "type": "minimize"}]
    of = experiment(algorithm, ZDT, settings, objective={**TWO, "goals": goals})
    made = searched(
        of,
        budget,
        lambda values: dict(zip(("loss", "size"), _zdt1(values), strict=True)),
        seed=seed,
    )
    front = best_trials(of.spec.objective, made.trials)
    values = [objective_values(of.spec.objective, trial) for trial in front]
    return _volume([(a, b) for a, b in values if a is not None and b is not None])


def _theirs(sampler: optuna.samplers.BaseSampler, budget: int) -> float:
    space = space_of(experiment("random", ZDT).spec.parameters)
    with quiet_optuna():
        study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        for _ in range(budget):
            trial = study.ask(space.distributions())
            study.tell(trial, _zdt1(space.drawn(lambda d, asked=trial: asked.params[d.name])))
        return _volume([(t.values[0], t.values[1]) for t in study.best_trials])


@pytest.mark.long
@pytest.mark.parametrize(
    ("algorithm", "settings", "direct"),
    [
        ("random", {}, lambda seed: optuna.samplers.RandomSampler(seed=seed)),
        ("tpe", {}, lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=False)),
        (
            "multivariate-tpe",
            {},
            lambda seed: optuna.samplers.TPESampler(seed=seed, multivariate=True),
        ),
        (
            "optuna:NSGAIISampler",
            {"population_size": "12"},
            lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=12),
        ),
    ],
)
def test_the_front_is_not_worse_than_optunas(
    algorithm: str,
    settings: dict[str, str],
    direct: Callable[[int], optuna.samplers.BaseSampler],
) -> None:
    """The mean over seeds of the hypervolume, equal within three standard errors."""
    budget, seeds = 70, 5
    pairs = [
        (_ours(algorithm, settings, budget, seed), _theirs(direct(seed), budget))
        for seed in range(seeds)
    ]
    error = statistics.stdev(a - b for a, b in pairs) / math.sqrt(seeds)
    assert statistics.mean(a for a, _ in pairs) >= statistics.mean(b for _, b in pairs) - 3 * error
    if algorithm != "random":
        base = statistics.mean(_ours("random", {}, budget, seed) for seed in range(seeds))
        assert statistics.mean(a for a, _ in pairs) > base
