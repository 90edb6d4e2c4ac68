"""How good the algorithms are on known functions, beside Optuna called directly.

Both sides get the same space, budget and seeds, one trial after the other. Compared is the mean
over seeds of the logarithm of what is left to the known minimum, and they count as equal within
three standard errors; seeds are fixed, so it is the same number every time.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from katibflow.study.optuna_study import quiet_optuna
from katibflow.suggestion.space.search_space import space_of
from tests.searching import experiment, searched

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

Values = Mapping[str, str]

CLOSE = 1e-9
"""Nearer to the minimum than this counts as this near."""


def _doubles(low: float, high: float, *names: str) -> list[dict[str, Any]]:
    space = {"min": str(low), "max": str(high)}
    return [{"name": n, "parameterType": "double", "feasibleSpace": space} for n in names]


@dataclass(frozen=True)
class Function:
    """A function to minimize whose minimum is known."""

    name: str
    parameters: Sequence[dict[str, Any]]
    value: Callable[[Values], float]
    minimum: float


def _sphere(values: Values) -> float:
    return sum((float(value) - 1.5) ** 2 for value in values.values())


def _branin(values: Values) -> float:
    """Source: https://www.sfu.ca/~ssurjano/branin.html."""
    x, y = float(values["x"]), float(values["y"])
    b, c, t = 5.1 / (4 * math.pi**2), 5 / math.pi, 1 / (8 * math.pi)
    return (y - b * x**2 + c * x - 6) ** 2 + 10 * (1 - t) * math.cos(x) + 10


_A = (
    (10, 3, 17, 3.5, 1.7, 8),
    (0.05, 10, 17, 0.1, 8, 14),
    (3, 3.5, 1.7, 10, 17, 8),
    (17, 8, 0.05, 10, 0.1, 14),
)
_P = (
    (1312, 1696, 5569, 124, 8283, 5886),
    (2329, 4135, 8307, 3736, 1004, 9991),
    (2348, 1451, 3522, 2883, 3047, 6650),
    (4047, 8828, 8732, 5743, 1091, 381),
)


def _hartmann(values: Values) -> float:
    """Source: https://www.sfu.ca/~ssurjano/hart6.html."""
    x = [float(values[f"x{index}"]) for index in range(6)]
    return -sum(
        weight
        * math.exp(-sum(a * (v - p / 10_000) ** 2 for a, v, p in zip(row, x, ps, strict=True)))
        for weight, row, ps in zip((1.0, 1.2, 3.0, 3.2), _A, _P, strict=True)
    )


def _mixed(values: Values) -> float:
    penalty = {"sgd": 1.0, "adam": 0.0, "lion": 0.4}[values["optimizer"]]
    return (
        penalty
        + (math.log10(float(values["lr"])) + 2.5) ** 2
        + ((int(values["layers"]) - 6) / 4) ** 2
        + (abs(math.log2(float(values["batch"])) - 6)) / 3
    )


FUNCTIONS = {
    function.name: function
    for function in (
        Function("sphere", _doubles(-5, 5, "a", "b", "c", "d", "e"), _sphere, 0.0),
        Function(
            "branin", [*_doubles(-5, 10, "x"), *_doubles(0, 15, "y")], _branin, 0.397887357729738
        ),
        Function("hartmann6", _doubles(0, 1, *(f"x{i}" for i in range(6))), _hartmann, -3.32236801),
        Function(
            "mixed",
            [
                {
                    "name": "lr",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "1e-5", "max": "1", "distribution": "logUniform"},
                },
                {
                    "name": "layers",
                    "parameterType": "int",
                    "feasibleSpace": {"min": "1", "max": "20"},
                },
                {
                    "name": "batch",
                    "parameterType": "discrete",
                    "feasibleSpace": {"list": ["16", "32", "64", "128", "256"]},
                },
                {
                    "name": "optimizer",
                    "parameterType": "categorical",
                    "feasibleSpace": {"list": ["sgd", "adam", "lion"]},
                },
            ],
            _mixed,
            0.0,
        ),
    )
}


def _optuna(algorithm: str, seed: int) -> BaseSampler:
    """What a user of Optuna would take for an algorithm."""
    from optuna import samplers

    return {
        "random": lambda: samplers.RandomSampler(seed=seed),
        "tpe": lambda: samplers.TPESampler(seed=seed, multivariate=False),
        "multivariate-tpe": lambda: samplers.TPESampler(seed=seed, multivariate=True),
        "cmaes": lambda: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
        "bayesianoptimization": lambda: samplers.GPSampler(seed=seed),
        "sobol": lambda: samplers.QMCSampler(seed=seed, scramble=True),
        "optuna:NSGAIISampler": lambda: samplers.NSGAIISampler(seed=seed, population_size=10),
    }[algorithm]()


def _left(values: Sequence[float], function: Function) -> float:
    return math.log10(max(min(values) - function.minimum, CLOSE))


def ours(algorithm: str, function: Function, budget: int, seed: int) -> float:
    settings = {"population_size": "10"} if "NSGA" in algorithm else {}
    of = experiment(algorithm, function.parameters, settings)
    made = searched(of, budget, function.value, seed=seed)
    return _left([function.value(trial.assignments) for trial in made.trials], function)


def theirs(algorithm: str, function: Function, budget: int, seed: int) -> float:
    import optuna

    space = space_of(experiment("random", function.parameters).spec.parameters)
    values = []
    with quiet_optuna():
        study = optuna.create_study(sampler=_optuna(algorithm, seed))
        for _ in range(budget):
            trial = study.ask(space.distributions())
            values.append(function.value(space.drawn(lambda d, asked=trial: asked.params[d.name])))
            study.tell(trial, values[-1])
    return _left(values, function)


def compared(algorithm: str, name: str, budget: int, seeds: int) -> tuple[float, float, float]:
    """Our mean, Optuna's mean, and the standard error of their difference."""
    function = FUNCTIONS[name]
    pairs = [
        (ours(algorithm, function, budget, seed), theirs(algorithm, function, budget, seed))
        for seed in range(seeds)
    ]
    error = statistics.stdev(a - b for a, b in pairs) / math.sqrt(seeds)
    return statistics.mean(a for a, _ in pairs), statistics.mean(b for _, b in pairs), error


CASES = [
    (algorithm, name, budget, seeds)
    for algorithm, budget, seeds in (
        ("random", 60, 10),
        ("sobol", 60, 10),
        ("tpe", 60, 10),
        ("multivariate-tpe", 60, 10),
        ("cmaes", 120, 10),
        ("optuna:NSGAIISampler", 100, 10),
    )
    for name in FUNCTIONS
]


@pytest.mark.long
@pytest.mark.parametrize(("algorithm", "name", "budget", "seeds"), CASES)
def test_it_is_not_worse_than_optuna(algorithm: str, name: str, budget: int, seeds: int) -> None:
    mean, reference, error = compared(algorithm, name, budget, seeds)
    assert mean <= reference + 3 * error


@pytest.mark.parametrize("algorithm", ["tpe", "cmaes"])
@pytest.mark.long
def test_it_is_not_worse_than_optuna_on_the_sphere(algorithm: str) -> None:
    mean, reference, error = compared(algorithm, "sphere", 60, 5)
    assert mean <= reference + 3 * error


@pytest.mark.long
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bayesianoptimization_is_not_worse_than_optuna(name: str) -> None:
    mean, reference, error = compared("bayesianoptimization", name, 30, 5)
    assert mean <= reference + 3 * error


if __name__ == "__main__":
    for case in CASES:
        print(*case, *(f"{number:7.3f}" for number in compared(*case)))
