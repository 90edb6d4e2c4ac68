"""A suggestion from a history against Optuna's own ask on a study that is there already.

Both have the same 1,000 finished trials of five mixed parameters with 10 reports each, and run by
turns. `python benchmarks/bench_suggest.py [trials]` prints the medians and their ratio; it fails
when a rebuilt suggestion takes more than 1 s or 3 times Optuna's ask.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable

import optuna

from katibflow.experiment.types import Experiment
from katibflow.study.history import History, Observation, Point, Trial, TrialState
from katibflow.suggestion.space.search_space import space_of
from katibflow.suggestion.suggester import Suggester, suggest

REPORTS = 10
TURNS = 15
MOST_SECONDS = 1.0
MOST_TIMES = 3.0

EXPERIMENT = Experiment.model_validate(
    {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "bench"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "tpe"},
            "parameters": [
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
            ],
            "trialTemplate": {"trialSpec": {}},
        },
    }
)


def history(count: int) -> History:
    dice = random.Random(1)
    space = space_of(EXPERIMENT.spec.parameters)
    trials = []
    for number in range(count):
        assignments = space.at([dice.random() for _ in space.dimensions])
        value = abs(float(assignments["momentum"]) - 0.9) + int(assignments["layers"]) / 64
        trials.append(
            Trial(
                number,
                TrialState.COMPLETE,
                assignments,
                {"loss": Observation(value, value, value + 1)},
                tuple(Point(step, value + 1 / (1 + step)) for step in range(REPORTS)),
            )
        )
    return History(EXPERIMENT, "0" * 8, 1, tuple(trials))


def study(of: History) -> optuna.Study:
    space = space_of(EXPERIMENT.spec.parameters)
    made = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1, multivariate=False))
    for trial in of.trials:
        made.add_trial(
            optuna.trial.create_trial(
                value=trial.observations["loss"].min,
                params=space.numbers(trial.assignments),
                distributions=space.distributions(),
                intermediate_values={point.step: point.value for point in trial.intermediate},
            )
        )
    return made


def seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    past = history(count)
    live = study(past)
    distributions = space_of(EXPERIMENT.spec.parameters).distributions()
    suggester = Suggester(EXPERIMENT)
    calls: dict[str, Callable[[], object]] = {
        "optuna ask, live": lambda: live.tell(live.ask(distributions), 1.0),
        "suggest, rebuilt": lambda: suggest(past, 1),
        "suggest, live": lambda: suggester.suggest(past, 1),
    }
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(TURNS):
        for name, call in calls.items():
            times[name].append(seconds(call))
    medians = {name: statistics.median(found) for name, found in times.items()}
    base = medians["optuna ask, live"]
    print(f"{count} finished trials, {len(distributions)} parameters, {REPORTS} reports each")
    for name, median in medians.items():
        print(f"{name:18} {median * 1000:8.1f} ms   {median / base:5.2f} x")
    rebuilt = medians["suggest, rebuilt"]
    return 0 if rebuilt <= MOST_SECONDS and rebuilt <= MOST_TIMES * base else 1


if __name__ == "__main__":
    sys.exit(main())
