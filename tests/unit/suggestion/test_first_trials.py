"""Trials that come first because the user said so, and trials of an earlier run to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from katibflow.api.experiment import Experiment
from katibflow.errors import InputError, InvalidExperiment
from katibflow.runs.warm_start import with_warm_start
from katibflow.study.history import (
    History,
    Observation,
    Trial,
    TrialState,
    dump_history,
    load_history,
)
from katibflow.suggestion.suggester import Suggester, suggest
from katibflow.validation.rules import check_document
from tests.samples import changed

SPACE = [
    {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.1", "max": "0.5"}},
    {"name": "opt", "parameterType": "categorical", "feasibleSpace": {"list": ["sgd", "adam"]}},
    {
        "name": "momentum",
        "parameterType": "double",
        "feasibleSpace": {"min": "0", "max": "1"},
        "when": {"opt": "sgd"},
    },
]


ARGS = "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.args"


def document(text: str | None, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    made = changed(
        {
            "spec.parameters": SPACE,
            "spec.algorithm.algorithmName": "tpe",
            "spec.trialTemplate.trialParameters": [
                {"name": "lr", "reference": "lr"},
                {"name": "opt", "reference": "opt"},
                {"name": "momentum", "reference": "momentum", "default": "0"},
            ],
            ARGS: [f"${{trialParameters.{name}}}" for name in ("lr", "opt", "momentum")],
            **(changes or {}),
        }
    )
    if text is not None:
        made["metadata"]["annotations"] = {"katibflow/enqueue": text}
    return made


TWO = '[{"lr": 0.10, "opt": "adam"}, {"lr": 0.2, "opt": "sgd", "momentum": 0.5}]'


def ended(history: History, assignments: Mapping[str, str], state: TrialState) -> History:
    trial = Trial(history.next_number, state, assignments, {"loss": Observation(1, 1, 1)})
    return history.with_trials([trial])


@pytest.mark.parametrize("algorithm", ["random", "tpe", "multivariate-tpe"])
def test_what_is_enqueued_is_tried_first_and_once_whatever_was_killed(algorithm: str) -> None:
    of = check_document(document(TWO, {"spec.algorithm.algorithmName": algorithm}), "test")
    history = History(of, "r", 1)
    first, second, third = suggest(history, 3)
    assert first.assignments == {"lr": "0.1", "opt": "adam"}
    assert second.assignments == {"lr": "0.2", "opt": "sgd", "momentum": "0.5"}
    assert third.assignments not in (first.assignments, second.assignments)
    # Another process goes on: one was killed, which counts for nothing, and one failed.
    history = ended(history, first.assignments, TrialState.KILLED)
    history = ended(history, second.assignments, TrialState.FAIL)
    again, other = suggest(history, 2)
    assert again.assignments == first.assignments
    assert other.assignments != second.assignments


def test_a_grid_begins_with_what_is_enqueued_and_still_tries_all() -> None:
    lists = [
        {"name": "lr", "parameterType": "discrete", "feasibleSpace": {"list": ["1", "2", "3"]}}
    ]
    template = [{"name": "lr", "reference": "lr"}]
    made = changed(
        {
            "spec.parameters": lists,
            "spec.algorithm.algorithmName": "grid",
            "spec.trialTemplate.trialParameters": template,
        }
    )
    made["metadata"]["annotations"] = {"katibflow/enqueue": '[{"lr": 3}]'}
    of = check_document(made, "test")
    tried = [each.assignments["lr"] for each in suggest(History(of, "r", 1), 9)]
    assert tried[0] == "3"
    assert sorted(tried) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        ("lr=1", "", "no list of mappings"),
        ('[{"lr": [1]}]', "", "a value is no text or number"),
        ('[{"lr": 0.2}]', "[0].opt", ""),
        ('[{"lr": 0.9, "opt": "adam"}]', "[0].lr", '"0.9"'),
        ('[{"lr": 0.2, "opt": "rmsprop"}]', "[0].opt", '"rmsprop"'),
        ('[{"lr": 0.2, "opt": "adam", "units": 3}]', "[0].units", '"3"'),
        ('[{"lr": 0.2, "opt": "adam", "momentum": 0.5}]', "[0].momentum", '"0.5"'),
        ('[{"lr": 0.2, "opt": "adam", "lr": 0.3}]', "", '"lr" twice in one mapping'),
        ('[{"lr": "1_0e-2", "opt": "adam"}]', "[0].lr", "1_0e-2"),
        ('[{"lr": 0.2, "opt": "sgd", "momentum": "\u0661"}]', "[0].momentum", "\u0661"),
        ('[{"lr": 0.2, "opt": "adam"}, {"lr": 0.20, "opt": "adam"}]', "[1]", "again"),
    ],
)
def test_what_is_not_in_the_space_is_refused_by_its_path(text: str, path: str, found: str) -> None:
    with pytest.raises(InvalidExperiment) as error:
        check_document(document(text), "test")
    (fault,) = error.value.faults
    assert fault.path == f"metadata.annotations[katibflow/enqueue]{path}"
    assert found in fault.found


def test_python_enqueues_with_numbers_and_keeps_what_was_enqueued_before() -> None:
    experiment = Experiment(document(None)).enqueue({"lr": 0.25, "opt": "adam"})
    experiment = experiment.enqueue({"lr": 0.5, "opt": "sgd", "momentum": 1})
    first, second = suggest(History(experiment.model, "r", 1), 2)
    assert first.assignments == {"lr": "0.25", "opt": "adam"}
    assert second.assignments == {"lr": "0.5", "opt": "sgd", "momentum": "1"}
    with pytest.raises(InvalidExperiment, match=r'lr: found "7"'):
        experiment.enqueue({"lr": 7, "opt": "adam"})
    with pytest.raises(InputError, match="enqueue: found 3; allowed: a mapping"):
        experiment.enqueue(3)  # type: ignore[arg-type]


PLAIN = {
    "spec.parameters": SPACE[:1],
    "spec.trialTemplate.trialParameters": [{"name": "lr", "reference": "lr"}],
    ARGS: ["${trialParameters.lr}"],
}


@pytest.mark.parametrize("algorithm", ["cmaes", "hyperband", "pbt"])
def test_algorithms_that_make_their_own_first_trials_are_refused(algorithm: str) -> None:
    made = document('[{"lr": 0.2}]', {**PLAIN, "spec.algorithm.algorithmName": algorithm})
    with pytest.raises(InvalidExperiment, match=f"come first, for algorithm {algorithm}"):
        check_document(made, "test")


def earlier() -> History:
    """Sixty trials whose loss is the distance from 0.3."""
    of = check_document(document(None, PLAIN), "test")
    rates = [0.1 + 0.4 * number / 59 for number in range(60)]
    trials = tuple(
        Trial(n, TrialState.COMPLETE, {"lr": repr(lr)}, {"loss": Observation(*[abs(lr - 0.3)] * 3)})
        for n, lr in enumerate(rates)
    )
    return History(of, "early", 1, trials)


def begun(changes: Mapping[str, Any] | None = None) -> History:
    of = check_document(document(None, {**PLAIN, **(changes or {})}), "test")
    return with_warm_start(History(of, "r", 1), Path("runs/early"), lambda _: earlier(), "e.yaml")


def test_the_sampler_learns_from_an_earlier_run_whose_trials_count_for_nothing() -> None:
    history = begun()
    assert (history.next_number, history.trials, len(history.warm)) == (0, (), 60)
    kept = load_history(dump_history(history))
    assert kept.warm == history.warm  # the earlier run may be gone when this one goes on
    suggester = Suggester(history.experiment)
    for _ in range(6):
        (suggestion,) = suggester.suggest(history, 1)
        assert suggest(history, 1) == (suggestion,)  # another process suggests the same
        history = ended(history, suggestion.assignments, TrialState.COMPLETE)
    near = [abs(float(trial.assignments["lr"]) - 0.3) < 0.1 for trial in history.trials]
    assert sum(near) >= 5  # half of them by chance
    again = with_warm_start(history, Path("gone"), lambda _: earlier(), "e.yaml")
    assert again is history


def test_a_warm_start_is_refused_where_it_cannot_teach() -> None:
    other = {"min": "0.1", "max": "0.9"}
    with pytest.raises(InvalidExperiment, match=r"spec.parameters\[0\].feasibleSpace"):
        begun({"spec.parameters": [{**SPACE[0], "feasibleSpace": other}]})
    for algorithm in ("random", "sobol", "optuna:NSGAIISampler"):
        with pytest.raises(InputError, match=f"--warm-start: found algorithm {algorithm}"):
            begun({"spec.algorithm.algorithmName": algorithm})
    late = ended(replace(begun(), warm=()), {"lr": "0.2"}, TrialState.COMPLETE)
    with pytest.raises(InputError, match="has begun without it, with 1 trial; allowed: --fresh"):
        with_warm_start(late, Path("runs/early"), lambda _: earlier(), "e.yaml")
