"""What samplers make of trials that failed, and integers too wide to be listed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
from optuna.trial import TrialState as OptunaState

from katibflow.study.history import Observation, Point, Trial, TrialState
from katibflow.suggestion.history_storage import HistoryStorage
from katibflow.suggestion.space.search_space import space_of
from katibflow.suggestion.suggester import Suggester, Suggestion
from tests.searching import ended, experiment, history

SPACE = [
    {"name": name, "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
    for name in "xy"
]
POINT = Suggestion({"x": "0.7", "y": "0.1"})


@pytest.mark.parametrize(
    ("trial", "taught"),
    [
        (ended(0, POINT, None, TrialState.FAIL), OptunaState.PRUNED),
        (ended(0, POINT, float("nan")), OptunaState.PRUNED),
        (ended(0, POINT, float("inf")), OptunaState.PRUNED),
        (ended(0, POINT, None, TrialState.KILLED), OptunaState.FAIL),
        (ended(0, POINT, 1.0), OptunaState.COMPLETE),
        (ended(0, POINT, 1.0, TrialState.PRUNED), OptunaState.PRUNED),
        (Trial(0, TrialState.RUNNING, POINT.assignments), OptunaState.RUNNING),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_sampler_learns_of_failures_and_pruners_do_not(trial: Trial, taught: OptunaState) -> None:
    spec = experiment("tpe", SPACE).spec
    for teaches in (True, False):
        storage = HistoryStorage(space_of(spec.parameters), spec.objective, teaches=teaches)
        storage.follow([trial])
        is_fruitless = taught is OptunaState.PRUNED and trial.state is not TrialState.PRUNED
        wanted = OptunaState.FAIL if is_fruitless and not teaches else taught
        assert storage.get_trial(0).state is wanted


def test_a_failed_trial_with_many_reports_is_not_the_best_of_the_pruned_ones() -> None:
    spec = experiment("tpe", SPACE).spec
    storage = HistoryStorage(space_of(spec.parameters), spec.objective, teaches=True)
    points = tuple(Point(step, 0.0) for step in range(9))
    storage.follow([replace(ended(0, POINT, None, TrialState.FAIL), intermediate=points)])
    assert storage.get_trial(0).intermediate_values == {}


@pytest.mark.parametrize("algorithm", ["tpe", "multivariate-tpe"])
@pytest.mark.parametrize("nan", [False, True])
def test_tpe_leaves_the_part_of_the_space_in_which_trials_fail(algorithm: str, nan: bool) -> None:
    made = history(experiment(algorithm, SPACE), 2)
    suggester = Suggester(made.experiment)
    bad: list[bool] = []
    for number in range(40):
        (suggestion,) = suggester.suggest(made, 1)
        x, y = (float(suggestion.assignments[name]) for name in "xy")
        bad.append(x > 0.4)
        value = float("nan") if nan else None
        state = TrialState.COMPLETE if nan else TrialState.FAIL
        trial = (
            ended(number, suggestion, value, state)
            if bad[-1]
            else ended(number, suggestion, (x - 0.2) ** 2 + y**2)
        )
        made = made.with_trials([trial])
    assert sum(bad[-20:]) <= 6


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
@pytest.mark.parametrize(("type_", "constrained"), [("minimize", False), ("maximize", True)])
def test_the_gaussian_process_leaves_the_part_in_which_trials_fail(
    type_: str, constrained: bool
) -> None:
    """The values get better up to that part, so without a failure's lesson it goes on there."""
    sign = 1 if type_ == "minimize" else -1
    objective: dict[str, object] = {
        "type": type_,
        "objectiveMetricName": "loss",
        "additionalMetricNames": ["size"],
    }
    if constrained:
        objective["constraints"] = [{"name": "size", "max": 2.0}]
    made = history(experiment("bayesianoptimization", SPACE, objective=objective), 3)
    for x in (0.05, 0.2, 0.35, 0.5, 0.55, 0.7, 0.85, 1.0):
        for y in (0.25, 0.75):
            number = made.next_number
            at = Suggestion({"x": str(x), "y": str(y)})
            if x > 0.5:
                trial = ended(number, at, None, TrialState.FAIL)
            else:
                trial = ended(number, at, sign * (1 - x))
                size = Observation(1.0, 1.0, 1.0)
                trial = replace(trial, observations={**trial.observations, "size": size})
            made = made.with_trials([trial])
    (suggestion,) = Suggester(made.experiment).suggest(made, 1)
    assert 0.3 < float(suggestion.assignments["x"]) < 0.55


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
@pytest.mark.parametrize("algorithm", ["bayesianoptimization", "optuna:GPSampler"])
def test_the_gaussian_process_takes_an_integer_of_any_width(algorithm: str) -> None:
    space = [
        {"name": "n", "parameterType": "int", "feasibleSpace": {"min": "0", "max": str(2**32)}},
        {"name": "m", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}},
    ]
    made = history(experiment(algorithm, space), 1)
    for number in range(11):  # random ones, before the process begins
        at = Suggestion({"n": str(number * 2**28), "m": str(1 + number % 9)})
        made = made.with_trials([ended(number, at, float(number))])
    suggester = Suggester(made.experiment)
    for number in (11, 12):
        (suggestion,) = suggester.suggest(made, 1)
        assert 0 <= int(suggestion.assignments["n"]) <= 2**32
        assert 1 <= int(suggestion.assignments["m"]) <= 9
        made = made.with_trials([ended(number, suggestion, float(suggestion.assignments["n"]))])
