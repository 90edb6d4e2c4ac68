"""Tests parameters that are active only under conditions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from katibflow.errors import InvalidExperiment
from katibflow.experiment.trial_template import render
from katibflow.experiment.types import Experiment
from katibflow.experiment.yaml_reader import read_document
from katibflow.study.history import History, TrialState, dump_history, load_history
from katibflow.study.optuna_study import study_of
from katibflow.study.resume import check_resume
from katibflow.suggestion.space.activity import MOST_STATES
from katibflow.suggestion.space.search_space import Space, space_of
from katibflow.suggestion.suggester import Suggester, Suggestion, is_used_up, suggest
from katibflow.validation.rules import check_document
from tests.samples import changed
from tests.searching import ended, experiment, history, running, searched

OPTIMIZER = {
    "name": "optimizer",
    "parameterType": "categorical",
    "feasibleSpace": {"list": ["sgd", "rmsprop", "adam"]},
}
MOMENTUM = {
    "name": "momentum",
    "parameterType": "double",
    "feasibleSpace": {"min": "0", "max": "0.99"},
    "when": {"optimizer": ["sgd", "rmsprop"]},
}
NESTEROV = {
    "name": "nesterov",
    "parameterType": "categorical",
    "feasibleSpace": {"list": ["yes", "no"]},
    "when": {"optimizer": "sgd", "layers": [2, "3"]},
}
LAYERS = {
    "name": "layers",
    "parameterType": "int",
    "feasibleSpace": {"min": "1", "max": "4"},
}
WARMUP = {
    "name": "warmup",
    "parameterType": "int",
    "feasibleSpace": {"min": "1", "max": "3"},
    "when": {"nesterov": "yes"},
}
TREE = [WARMUP, MOMENTUM, NESTEROV, OPTIMIZER, LAYERS]
"""Nested conditions, each before what it depends on."""

FINITE = [WARMUP, NESTEROV, OPTIMIZER, LAYERS]


def document(parameters: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Returns an Experiment of these parameters; its trials get 0 for inactive ones."""
    references = [
        {"name": each["name"], "reference": each["name"]}
        | ({"default": "0"} if "when" in each else {})
        for each in parameters
    ]
    arguments = " ".join(f"${{trialParameters.{each['name']}}}" for each in parameters)
    return changed(
        {
            "spec.parameters": [dict(each) for each in parameters],
            "spec.trialTemplate.trialParameters": references,
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.args": [arguments],
            **more,
        }
    )


def checked(parameters: Sequence[Mapping[str, Any]], **more: Any) -> Experiment:
    return check_document(document(parameters, **more), "f")


def said_of(parameters: Sequence[Mapping[str, Any]], **more: Any) -> list[str]:
    with pytest.raises(InvalidExperiment) as raised:
        checked(parameters, **more)
    return [str(fault) for fault in raised.value.faults]


def is_right(parameters: Sequence[Mapping[str, Any]], assignments: Mapping[str, str]) -> bool:
    """Returns whether exactly the active parameters are assigned, computed from the YAML."""

    def active(name: str) -> bool:
        (given,) = (each for each in parameters if each["name"] == name)
        for on, values in given.get("when", {}).items():
            wanted = {str(v) for v in (values if isinstance(values, list) else [values])}
            if not active(on) or assignments.get(on) not in wanted:
                return False
        return True

    return all((each["name"] in assignments) == active(each["name"]) for each in parameters)


# --------------------------------------------------------------------------------- the space


def test_a_combination_has_exactly_the_active_parameters() -> None:
    space = space_of(checked(FINITE).spec.parameters)
    points = [space.point(index) for index in range(space.size or 0)]
    assert len(points) == len({tuple(point.items()) for point in points})
    # adam and rmsprop: 4 layers each; sgd with 1 or 4 layers; with 2 or 3: no, or yes and 3 more.
    assert space.size == 2 * 4 + 2 + 2 * (1 + 3)
    assert all(is_right(FINITE, point) for point in points)
    assert all(space.numbers(point) is not None for point in points)


@st.composite
def conditional_spaces(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Makes up to six small parameters in any order; each may depend on earlier ones."""
    parameters: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["int", "categorical", "discrete", "step"]))
        size = draw(st.integers(1, 4))
        space: dict[str, Any] = {
            "int": {"min": "0", "max": str(size - 1)},
            "categorical": {"list": ["abcd"[index] for index in range(size)]},
            "discrete": {"list": [f"{index}.50" for index in range(size)]},
            "step": {"min": "0", "max": str((size - 1) / 4), "step": "0.25" if size > 1 else None},
        }[kind]
        given: dict[str, Any] = {
            "name": f"p{number}",
            "parameterType": "double" if kind == "step" else kind,
            "feasibleSpace": {key: value for key, value in space.items() if value is not None},
        }
        able = [each for each in parameters if each["parameterType"] != "double"]
        if able and draw(st.booleans()):
            on = draw(st.lists(st.sampled_from(able), min_size=1, max_size=2, unique_by=id))
            given["when"] = {
                each["name"]: draw(
                    st.lists(st.sampled_from(_values(each)), min_size=1, max_size=3, unique=True)
                )
                for each in on
            }
        parameters.append(given)
    return draw(st.permutations(parameters))


def _values(parameter: Mapping[str, Any]) -> list[str]:
    space = parameter["feasibleSpace"]
    if "list" in space:
        return list(space["list"])
    step = float(space.get("step", 1))
    count = round((float(space["max"]) - float(space["min"])) / step) + 1
    return [f"{float(space['min']) + index * step:g}" for index in range(count)]


def combinations(parameters: Sequence[Mapping[str, Any]]) -> set[tuple[tuple[str, str], ...]]:
    """Returns all valid combinations, by testing every subset of every product."""
    found = set()
    columns = [[None, *_values(each)] for each in parameters]
    for row in itertools.product(*columns):
        given = {
            each["name"]: value
            for each, value in zip(parameters, row, strict=True)
            if value is not None
        }
        if is_right(parameters, given):
            found.add(tuple(given.items()))
    return found


@pytest.mark.slow
@given(conditional_spaces())
@settings(max_examples=150, deadline=None)
def test_points_are_all_the_right_combinations(parameters: list[dict[str, Any]]) -> None:
    space = space_of(experiment("random", parameters).spec.parameters)
    assert space.size is not None
    points = [tuple(space.point(index).items()) for index in range(space.size)]
    assert len(points) == len({*points})
    assert {*points} == combinations(parameters)


ABLE = [
    ("random", {}),
    ("tpe", {}),
    ("multivariate-tpe", {"n_startup_trials": "3"}),
    ("optuna:TPESampler", {"n_startup_trials": "3", "group": "true"}),
    ("optuna:NSGAIISampler", {"population_size": "4"}),
    ("auto", {}),
]


@pytest.mark.slow
@given(conditional_spaces(), st.sampled_from([*ABLE, ("grid", {})]), st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_a_finite_space_is_tried_exactly_once(
    parameters: list[dict[str, Any]], algorithm: tuple[str, dict[str, str]], seed: int
) -> None:
    wanted = combinations(parameters)
    most = 30
    of = experiment(algorithm[0], parameters, algorithm[1])
    made = searched(of, most, lambda values: float(len(values)), seed=seed, batch=3)
    tried = [tuple(trial.assignments.items()) for trial in made.trials]
    assert len({*tried}) == len(tried) == min(most, len(wanted))
    assert {*tried} <= wanted
    assert is_used_up(made) == (len(wanted) <= most)
    assert bool(suggest(made, 1)) == (len(wanted) > most)


def loss(values: Mapping[str, str]) -> float:
    return {"sgd": 0.0, "rmsprop": 0.5, "adam": 1.0}[values["optimizer"]] + abs(
        float(values.get("momentum", 1)) - 0.5
    )


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "given_settings"), ABLE, ids=lambda value: str(value))
class TestAlgorithms:
    def test_assignments_are_the_active_ones_inside_their_space(
        self, algorithm: str, given_settings: dict[str, str]
    ) -> None:
        made = searched(experiment(algorithm, TREE, given_settings), 40, loss, batch=3)
        space = space_of(made.experiment.spec.parameters)
        assert len(made.trials) == 40
        for trial in made.trials:
            assert is_right(TREE, trial.assignments)
            assert space.numbers(trial.assignments) is not None
            order = [each["name"] for each in TREE if each["name"] in trial.assignments]
            assert list(trial.assignments) == order
        kinds = {frozenset(trial.assignments) for trial in made.trials}
        assert len(kinds) >= 3

    def test_it_is_the_same_rebuilt_and_live_with_running_trials(
        self, algorithm: str, given_settings: dict[str, str]
    ) -> None:
        of = experiment(algorithm, TREE, given_settings)
        live, made = Suggester(of), history(of)
        for turn in range(10):
            suggestions = live.suggest(made, 2)
            assert suggestions == suggest(load_history(dump_history(made)), 2)
            first, second = suggestions
            number = made.next_number
            made = made.with_trials(
                [
                    ended(number, first, loss(first.assignments)),
                    running(number + 1, second)
                    if turn % 2
                    else ended(number + 1, second, None, TrialState.FAIL),
                ]
            )

    def test_trials_with_other_parameters_do_not_break_it(
        self, algorithm: str, given_settings: dict[str, str]
    ) -> None:
        """Those of an Experiment that had no conditions, or lacked a parameter."""
        free = [{k: v for k, v in each.items() if k != "when"} for each in TREE]
        made = searched(experiment("random", free), 10, loss)
        lacking = searched(experiment("random", [OPTIMIZER, LAYERS]), 5, loss)
        of = experiment(algorithm, TREE, given_settings)
        trials = [*made.trials, *lacking.trials]
        odd = History(of, "r", 1).with_trials(
            ended(number, Suggestion(trial.assignments), loss(trial.assignments))
            for number, trial in enumerate(trials)
        )
        assert all(is_right(TREE, s.assignments) for s in suggest(odd, 3))


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ["tpe", "multivariate-tpe"])
def test_a_branch_is_searched_better_than_at_random(algorithm: str) -> None:
    """The best values lie under sgd, at momentum 0.5."""

    def late(name: str) -> float:
        values = []
        for seed in range(4):
            made = searched(experiment(name, TREE), 60, loss, seed=seed)
            values += [loss(trial.assignments) for trial in made.trials[40:]]
        return sum(values) / len(values)

    assert late(algorithm) < 0.6 * late("random")


def test_an_endless_space_does_not_repeat_a_branch_that_is_one_combination() -> None:
    made = searched(experiment("random", [OPTIMIZER, MOMENTUM]), 25, lambda values: 1.0)
    single = [t.assignments["optimizer"] for t in made.trials if len(t.assignments) == 1]
    assert single == ["adam"]


def test_auto_takes_the_grid_when_conditions_leave_few_combinations() -> None:
    free = [{k: v for k, v in each.items() if k != "when"} for each in FINITE]
    made = searched(experiment("auto", FINITE, maxTrialCount=18), 30, lambda values: 1.0)
    assert len(made.trials) == 18 and is_used_up(made)
    assert space_of(experiment("auto", free).spec.parameters).size == 72


def test_the_study_for_people_has_only_the_active_parameters() -> None:
    made = searched(experiment("random", TREE), 20, loss)
    for trial, shown in zip(made.trials, study_of(made).trials, strict=True):
        assert shown.params.keys() == trial.assignments.keys()


# ------------------------------------------------------------------------------ the template


def test_an_inactive_parameter_stands_for_its_default() -> None:
    template = checked([OPTIMIZER, MOMENTUM]).spec.trial_template
    rendered = render(template, {"optimizer": "adam"}, name="n", namespace="s")
    (container,) = rendered["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["adam 0"]
    rendered = render(template, {"optimizer": "sgd", "momentum": "0.9"}, name="n", namespace="s")
    (container,) = rendered["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["sgd 0.9"]


DEFAULT = "spec.trialTemplate.trialParameters.1.default"


def test_a_reference_to_a_conditional_parameter_needs_a_default() -> None:
    assert said_of([OPTIMIZER, MOMENTUM], **{DEFAULT: None}) == [
        "spec.trialTemplate.trialParameters[1].default: missing; allowed: the text to use in "
        "trials in which momentum is not active"
    ]


def test_a_parameter_that_is_always_active_has_no_default() -> None:
    place = "spec.trialTemplate.trialParameters.0.default"
    assert said_of([OPTIMIZER, MOMENTUM], **{place: "x"}) == [
        'spec.trialTemplate.trialParameters[0].default: found "x"; allowed: no default, since '
        "optimizer has no when and is always active"
    ]


def test_a_number_as_default_stays_as_it_was_written() -> None:
    text = (
        "spec:\n  trialTemplate:\n    trialParameters: [{default: 3.10}]\n"
        "  parameters: [{when: {a: 3.10, b: [1e-3]}}]\n"
    )
    spec = read_document(text, "f")["spec"]
    assert spec["trialTemplate"]["trialParameters"][0]["default"] == "3.10"
    assert spec["parameters"][0]["when"] == {"a": "3.10", "b": ["1e-3"]}


# ------------------------------------------------------------------------------- what is wrong


def when(value: Any, name: str = "momentum") -> dict[str, Any]:
    return {**MOMENTUM, "name": name, "when": value}


CHOICE = {"name": "c", "parameterType": "categorical", "feasibleSpace": {"list": ["x", "y"]}}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (
            [OPTIMIZER, when({"optimiser": "sgd"})],
            'spec.parameters[1].when.optimiser: found "optimiser" (did you mean optimizer?); '
            "allowed: a parameter's name: optimizer",
        ),
        (
            [OPTIMIZER, when({"optimizer": "lion"})],
            'spec.parameters[1].when.optimizer: found "lion"; allowed: a value of optimizer: '
            "sgd, rmsprop, adam",
        ),
        (
            [OPTIMIZER, when({"optimizer": ["sgd", "lion"]})],
            'spec.parameters[1].when.optimizer[1]: found "lion"; allowed: a value of optimizer: '
            "sgd, rmsprop, adam",
        ),
        (
            [LAYERS, when({"layers": 5})],
            'spec.parameters[1].when.layers: found "5"; allowed: a value of layers: 1 to 4',
        ),
        (
            [LAYERS, when({"layers": "many"})],
            'spec.parameters[1].when.layers: found "many"; allowed: a value of layers: 1 to 4',
        ),
        (
            [OPTIMIZER, when({"optimizer": []})],
            "spec.parameters[1].when.optimizer: found an empty list; allowed: a value of "
            "optimizer, or some",
        ),
        (
            [OPTIMIZER, when({})],
            "spec.parameters[1].when: found an empty mapping; allowed: a parameter's name and "
            "its values",
        ),
        (
            [OPTIMIZER, when("sgd")],
            'spec.parameters[1].when: found "sgd"; allowed: a mapping',
        ),
        (
            [OPTIMIZER, when({"momentum": "0.5"})],
            "spec.parameters[1].when.momentum: found the parameter itself; allowed: other "
            "parameters",
        ),
        (
            [OPTIMIZER, MOMENTUM, {**LAYERS, "when": {"momentum": "0.5"}}],
            "spec.parameters[2].when.momentum: found momentum, a double with a range; allowed: "
            "a categorical, discrete or int parameter, or one with a list",
        ),
        (
            [
                {**CHOICE, "name": "a", "when": {"c": "x"}},
                {**CHOICE, "name": "b", "when": {"a": "x"}},
                {**CHOICE, "when": {"b": "x"}},
                {**CHOICE, "name": "d", "when": {"a": "x"}},
            ],
            "spec.parameters[0].when: found a circle: a, which depends on c, which depends on b, "
            "which depends on a; allowed: parameters that do not depend on themselves",
        ),
        (
            [
                OPTIMIZER,
                {**CHOICE, "when": {"optimizer": "sgd"}},
                {**LAYERS, "when": {"c": "x", "optimizer": "adam"}},
                {**LAYERS, "name": "below", "when": {"layers": "1"}},
            ],
            "spec.parameters[2].when: found conditions that never hold together: no value of "
            "optimizer meets them all; allowed: conditions that some trial meets",
        ),
    ],
)
def test_each_fault_is_named(parameters: list[dict[str, Any]], said: str) -> None:
    (fault,) = said_of(parameters)
    assert fault == said


@pytest.mark.parametrize(
    ("algorithm", "given_settings"),
    [
        ("sobol", {}),
        ("cmaes", {}),
        ("bayesianoptimization", {}),
        ("optuna:QMCSampler", {}),
        ("optuna:GPSampler", {}),
        (
            "pbt",
            {"suggestion_trial_dir": "/c", "n_population": "5", "truncation_threshold": "0.2"},
        ),
        ("hyperband", {"r_l": "3", "resource_name": "layers"}),
    ],
)
def test_an_algorithm_that_cannot_is_refused(
    algorithm: str, given_settings: dict[str, str]
) -> None:
    pairs = [{"name": name, "value": value} for name, value in given_settings.items()]
    more = {
        "spec.algorithm": {"algorithmName": algorithm, "algorithmSettings": pairs},
        "spec.parallelTrialCount": 9,
    }
    assert said_of([OPTIMIZER, LAYERS, MOMENTUM], **more) == [
        "spec.parameters[2].when: found parameters with when, for algorithm "
        f"{algorithm}; allowed: none; or one of auto, grid, multivariate-tpe, random, tpe, "
        "optuna:<sampler>"
    ]


def test_independent_conditions_are_counted_quickly() -> None:
    parameters = []
    for number in range(60):
        parameters.append({**CHOICE, "name": f"c{number}"})
        parameters.append({**LAYERS, "name": f"l{number}", "when": {f"c{number}": "x"}})
    switched = [*parameters[::2], *parameters[1::2]]
    assert space_of(checked(switched).spec.parameters).size == 5**60


@pytest.mark.slow
@pytest.mark.long
def test_conditions_that_cannot_be_counted_are_refused() -> None:
    switches = [{**CHOICE, "name": f"c{number}"} for number in range(40)]
    tangled = [
        {**LAYERS, "name": f"l{a}-{b}", "when": {f"c{a}": "x", f"c{b}": "x"}}
        for a in range(40)
        for b in (39 - a, (a * 7 + 20) % 40)
        if a != b
    ]
    unique = {each["name"]: each for each in tangled}
    (fault,) = said_of([*switches, *unique.values()])
    assert fault.startswith(
        f"spec.parameters: found conditions hold in more than {MOST_STATES} different ways"
    )


def test_a_space_without_conditions_has_none() -> None:
    assert space_of(checked([OPTIMIZER, LAYERS]).spec.parameters) == Space(
        space_of(checked([OPTIMIZER, LAYERS]).spec.parameters).dimensions, {}
    )


def test_trials_do_not_count_under_other_conditions() -> None:
    other = {**MOMENTUM, "when": {"optimizer": "sgd"}}
    with pytest.raises(InvalidExperiment) as raised:
        check_resume("f", checked([OPTIMIZER, other]), checked([OPTIMIZER, MOMENTUM]))
    (fault,) = raised.value.faults
    assert (fault.path, fault.found) == ("spec.parameters[1].when", '{"optimizer": ["sgd"]}')
    assert fault.allowed.startswith('{"optimizer": ["sgd", "rmsprop"]}, as the trials on record')
