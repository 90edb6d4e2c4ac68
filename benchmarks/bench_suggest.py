"""A suggestion from a history against the own ask of Optuna's sampler on a study that is there.

Both have the same finished trials of five parameters with 10 reports each. What counts is the time
of the processor, by turns in one process: `rebuilt` makes everything from the history, as a step of
`rounds` does; `live` is a run that goes on, one trial further at each turn; `batch` asks for eight
at once, against eight rebuilt asks. ``python -m benchmarks suggest`` prints all;
``python benchmarks/bench_suggest.py [trials [algorithm ...]]`` some.
"""

from __future__ import annotations

import pickle
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.table import Row
from katibflow.experiment.types import Experiment
from katibflow.study.history import History, Observation, Point, Trial, TrialState
from katibflow.study.optuna_study import quiet_optuna
from katibflow.suggestion.space.search_space import Space, space_of
from katibflow.suggestion.suggester import Suggester, Suggestion, suggest

REPORTS = 10
BATCH = 8
POPULATION = 8
"""Trials in a generation of cmaes with four parameters."""
MOST_TIMES = 1.2
"""A rebuilt suggestion takes at most this many times Optuna's ask."""

SPACE: list[dict[str, Any]] = [
    {
        "name": "lr",
        "parameterType": "double",
        "feasibleSpace": {"min": "1e-5", "max": "0.1", "distribution": "logUniform"},
    },
    {
        "name": "momentum",
        "parameterType": "double",
        "feasibleSpace": {"min": "0", "max": "1"},
    },
    {
        "name": "layers",
        "parameterType": "int",
        "feasibleSpace": {"min": "1", "max": "64"},
    },
    {
        "name": "dropout",
        "parameterType": "double",
        "feasibleSpace": {"min": "0", "max": "0.5", "step": "0.01"},
    },
    {
        "name": "optimizer",
        "parameterType": "categorical",
        "feasibleSpace": {"list": ["sgd", "adam", "adamw"]},
    },
]
NUMBERS = SPACE[:4]
STEPS: list[dict[str, Any]] = [
    {
        "name": name,
        "parameterType": "int",
        "feasibleSpace": {"min": "1", "max": "16"},
    }
    for name in ("momentum", "layers", "width", "depth")
]
"""65,536 combinations, so that a grid of 10,000 trials is not used up."""

SAMPLERS: Mapping[str, tuple[list[dict[str, Any]], Callable[[Space], optuna.samplers.BaseSampler]]]
SAMPLERS = {
    "tpe": (SPACE, lambda _: optuna.samplers.TPESampler(seed=1, multivariate=False)),
    "multivariate-tpe": (
        SPACE,
        lambda _: optuna.samplers.TPESampler(seed=1, multivariate=True, group=True),
    ),
    "cmaes": (NUMBERS, lambda _: optuna.samplers.CmaEsSampler(seed=1)),
    "bayesianoptimization": (NUMBERS, lambda _: optuna.samplers.GPSampler(seed=1)),
    "random": (SPACE, lambda _: optuna.samplers.RandomSampler(seed=1)),
    "grid": (
        STEPS,
        lambda space: optuna.samplers.GridSampler(
            {each.name: list(range(each.size or 0)) for each in space.dimensions}, seed=1
        ),
    ),
}
"""Our name of an algorithm, to the parameters and Optuna's own sampler."""

TURNS: Mapping[str, Mapping[int, int]] = {
    "bayesianoptimization": {1_000: 3},
}
"""Turns by trials; a Gaussian process of 10,000 trials takes Optuna itself the better part of a
day and 800 MB a matrix."""


def experiment(algorithm: str, parameters: list[dict[str, Any]]) -> Experiment:
    return Experiment.model_validate(
        {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": "Experiment",
            "metadata": {"name": "bench"},
            "spec": {
                "objective": {"type": "minimize", "objectiveMetricName": "loss"},
                "algorithm": {"algorithmName": algorithm},
                "parameters": parameters,
                "trialTemplate": {"trialSpec": {}},
            },
        }
    )


def ended(number: int, suggestion: Suggestion) -> Trial:
    assignments = suggestion.assignments
    value = abs(float(assignments["momentum"]) - 0.9) + int(assignments["layers"]) / 64
    return Trial(
        number,
        TrialState.COMPLETE,
        assignments,
        {"loss": Observation(value, value, value + 1)},
        tuple(Point(step, value + 1 / (1 + step)) for step in range(REPORTS)),
        attributes=suggestion.attributes,
    )


def history(of: Experiment, count: int) -> History:
    """Returns a history of trials as the algorithm itself would have made them."""
    dice = random.Random(1)
    space = space_of(of.spec.parameters)
    made = History(of, "0" * 8, 1)
    if of.spec.algorithm.algorithm_name == "grid":
        suggester = Suggester(of)
        while len(made.trials) < count:
            more = suggester.suggest(made, BATCH)
            first = made.next_number
            made = made.with_trials(ended(first + n, each) for n, each in enumerate(more))
        return made
    shares = ([dice.random() for _ in space.dimensions] for _ in range(count))
    is_cmaes = of.spec.algorithm.algorithm_name == "cmaes"
    trials = [
        ended(number, Suggestion(space.at(each), generation(number) if is_cmaes else {}))
        for number, each in enumerate(shares)
    ]
    return replace(made, trials=tuple(trials))


def generation(number: int) -> dict[str, Any]:
    """Returns what cmaes stores with a trial, in generations of eight."""
    place, within = divmod(number, POPULATION)
    attributes: dict[str, Any] = {"cmaes:generation": place}
    if place and not within:
        attributes["cmaes:learnt_from"] = list(range(number - POPULATION, number))
    return attributes


def study(of: History, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """Returns Optuna's own study of the trials, with what its sampler would have stored."""
    space = space_of(of.experiment.spec.parameters)
    made = optuna.create_study(sampler=sampler)
    stored = attributes_of(of, space, sampler)
    made.add_trials(
        optuna.trial.create_trial(
            value=trial.observations["loss"].min,
            params=space.numbers(trial.assignments),
            distributions=space.distributions(),
            intermediate_values={point.step: point.value for point in trial.intermediate},
            system_attrs=next(stored),
        )
        for trial in of.trials
    )
    return made


def attributes_of(
    of: History, space: Space, sampler: optuna.samplers.BaseSampler
) -> Iterator[dict[str, Any]]:
    if isinstance(sampler, optuna.samplers.GridSampler):
        search_space = sampler._search_space
        for number in range(len(of.trials)):
            yield {"search_space": search_space, "grid_id": number}
    if isinstance(sampler, optuna.samplers.CmaEsSampler):
        import numpy
        from cmaes import CMA

        size = len(space.dimensions)
        optimizer = CMA(
            mean=numpy.full(size, 0.5), sigma=1 / 6, bounds=numpy.array([[0, 1]] * size)
        )
        told: list[tuple[Any, float]] = []
        for trial in of.trials:
            yield {"cma:generation": optimizer.generation} | (
                {"cma:optimizer:0": pickle.dumps(optimizer).hex()} if not told else {}
            )
            point = [d.share(trial.assignments[d.name]) for d in space.dimensions]
            told.append((numpy.array(point), trial.observations["loss"].min))
            if len(told) == optimizer.population_size:
                optimizer.ask()
                optimizer.tell(told)
                told = []
    while True:
        yield {}


def seconds(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


class Live:
    """A run that goes on: each call ends the trial before and asks for the next one."""

    def __init__(self, past: History) -> None:
        self._history = past
        self._suggester = Suggester(past.experiment)

    def __call__(self) -> None:
        (suggestion,) = self._suggester.suggest(self._history, 1)
        trial = ended(self._history.next_number, suggestion)
        self._history = self._history.with_trials([trial])


def medians(algorithm: str, count: int) -> dict[str, float]:
    """Returns the processor's seconds by what was called."""
    parameters, sampler = SAMPLERS[algorithm]
    past = history(experiment(algorithm, parameters), count)
    space = space_of(past.experiment.spec.parameters)
    own = study(past, sampler(space))
    distributions = space.distributions()
    calls: dict[str, Callable[[], object]] = {
        "optuna": lambda: own.tell(own.ask(distributions), 1.0),
        "rebuilt": lambda: suggest(past, 1),
        "live": Live(past),
        "batch": lambda: suggest(past, BATCH),
    }
    turns = TURNS.get(algorithm, {}).get(count, 15 if count < 5_000 else 7)
    times: dict[str, list[float]] = {name: [] for name in calls}
    with quiet_optuna():
        for _ in range(turns + 1):
            for name, call in calls.items():
                times[name].append(seconds(call))
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def rows(
    counts: Iterable[int] = (1_000, 10_000), algorithms: Iterable[str] = tuple(SAMPLERS)
) -> Iterator[Row]:
    """Yields what a suggestion takes, as ratios to Optuna's own ask in the same process."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for algorithm in algorithms:
        for count in counts:
            if count not in TURNS.get(algorithm, {count: 0}):
                continue
            found = medians(algorithm, count)
            base, rebuilt = found["optuna"], found["rebuilt"]
            name = f"suggest {algorithm}, {count:,} trials"
            for what, target in (("rebuilt", MOST_TIMES), ("live", None)):
                text = f"{found[what] * 1000:.1f} ms, Optuna's ask {base * 1000:.1f} ms"
                yield Row(f"{name}, {what}", text, found[what] / base, "x", target)
            text = f"{found['batch'] * 1000:.1f} ms, {BATCH} asks {BATCH * rebuilt * 1000:.1f} ms"
            yield Row(f"{name}, {BATCH} at once", text, found["batch"] / BATCH / rebuilt, "x", 1.0)


def main() -> int:
    counts = [int(sys.argv[1])] if len(sys.argv) > 1 else (1_000,)
    missed = 0
    for row in rows(counts, sys.argv[2:] or SAMPLERS):
        missed += not row.is_met
        print(f"{row.name:50} {row.value:7.2f} {row.unit}  {row.measured}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
