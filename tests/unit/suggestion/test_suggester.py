"""Tests suggestions beyond the contract: CMA-ES, hyperband, pbt, seeds, errors."""

from __future__ import annotations

import json
import pickle
import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from katibflow.errors import SuggestionError
from katibflow.experiment.types import Experiment
from katibflow.study.checkpoints import checkpoint_of
from katibflow.study.history import History, TrialState, dump_history, load_history
from katibflow.suggestion.algorithms import ALGORITHMS
from katibflow.suggestion.algorithms.cmaes import Restarts
from katibflow.suggestion.space.dimensions import Warped
from katibflow.suggestion.space.search_space import space_of
from katibflow.suggestion.suggester import (
    Suggester,
    Suggestion,
    is_used_up,
    new_seed,
    suggest,
    why_over,
)
from tests.searching import MIXED, SMALL, ended, experiment, history, mixed_loss, running, searched

UNIT: list[dict[str, Any]] = [
    {"name": name, "parameterType": "double", "feasibleSpace": {"min": "-5", "max": "5"}}
    for name in ("x", "y", "z")
]


def sphere(values: Mapping[str, str]) -> float:
    return sum((float(value) - 1.5) ** 2 for value in values.values())


# ---------------------------------------------------------------------------- any algorithm


SPACES = st.fixed_dictionaries(
    {
        "r": st.tuples(st.integers(-50, 50), st.integers(1, 99)),
        "i": st.tuples(st.integers(-9, 9), st.integers(0, 20), st.integers(1, 5)),
        "step": st.sampled_from(["0.1", "0.25", "1e-3", "0.3"]),
        "spread": st.sampled_from(["uniform", "logUniform", "normal", "logNormal"]),
        "list": st.lists(st.sampled_from(["1", "2.0", "1e-3", "-7", "10"]), min_size=1, max_size=5),
    }
)


@pytest.mark.slow
@given(SPACES, st.integers(0, 2**32 - 1), st.sampled_from(["random", "tpe", "cmaes", "sobol"]))
@settings(max_examples=60)
def test_whatever_the_space_all_that_is_suggested_is_feasible(
    drawn: dict[str, Any], seed: int, algorithm: str
) -> None:
    low, width = drawn["r"]
    first, size, step = drawn["i"]
    parameters = [
        {"name": "r", "parameterType": "double",
         "feasibleSpace": {"min": str(low), "max": f"{low + width}e0"}},
        {"name": "s", "parameterType": "double",
         "feasibleSpace": {"min": "0.1", "max": "2", "step": drawn["step"],
                           "distribution": drawn["spread"]}},
        {"name": "d", "parameterType": "double",
         "feasibleSpace": {"min": "1e-6", "max": "3", "distribution": drawn["spread"]}},
        {"name": "i", "parameterType": "int",
         "feasibleSpace": {"min": str(first), "max": str(first + size),
                           "step": str(min(step, max(size, 1)))}},
        {"name": "l", "parameterType": "discrete", "feasibleSpace": {"list": drawn["list"]}},
        {"name": "c", "parameterType": "categorical", "feasibleSpace": {"list": drawn["list"]}},
    ]  # fmt: skip
    of = experiment(algorithm, parameters)
    space = space_of(of.spec.parameters)
    made = searched(of, 14, lambda values: float(values["r"]), seed=seed, batch=2)
    for trial in made.trials:
        assert space.numbers(trial.assignments) is not None
        assert trial.assignments["l"] in drawn["list"]
        assert trial.assignments["c"] in drawn["list"]
        assert trial.assignments["i"] == str(int(trial.assignments["i"]))


def test_random_draws_from_the_distribution() -> None:
    parameters = [
        {"name": "lr", "parameterType": "double",
         "feasibleSpace": {"min": "1e-4", "max": "1", "distribution": "logUniform"}},
        {"name": "n", "parameterType": "double",
         "feasibleSpace": {"min": "0", "max": "6", "distribution": "normal"}},
    ]  # fmt: skip
    trials = searched(experiment("random", parameters), 400, lambda values: 0.0).trials
    rates = [float(trial.assignments["lr"]) for trial in trials]
    normal = [float(trial.assignments["n"]) for trial in trials]
    for decade in range(4):
        count = sum(10.0 ** (decade - 4) <= rate < 10.0 ** (decade - 3) for rate in rates)
        assert 70 <= count <= 130
    within_one = sum(2 <= value <= 4 for value in normal)
    assert 240 <= within_one <= 305


def test_no_trials_asked_for_no_suggestions() -> None:
    assert suggest(history(experiment("tpe")), 0) == ()


def test_a_derived_seed_depends_on_the_run_and_random_state_does_not() -> None:
    plain = experiment("tpe")
    assert new_seed(plain, "a") != new_seed(plain, "b")
    assert new_seed(plain, "a") == new_seed(plain, "a")
    fixed = experiment("optuna:TPESampler", settings={"seed": "4"})
    assert new_seed(fixed, "a") == 4


def test_the_seed_of_a_history_counts_not_the_setting() -> None:
    of = experiment("random", settings={"random_state": "4"})
    assert suggest(history(of, 4), 2) != suggest(history(of, 5), 2)


def test_a_sampler_that_fails_is_named_with_its_trial() -> None:
    of = experiment("optuna:NSGAIISampler", settings={"population_size": "1"})
    with pytest.raises(SuggestionError, match="optuna:NSGAIISampler failed at trial 0: ValueError"):
        suggest(history(of), 1)


def test_the_reason_why_a_search_is_over_is_said() -> None:
    assert why_over(experiment("grid")) == "every combination of the search space was tried"
    assert why_over(experiment("hyperband")) == "all brackets of hyperband are done"


def test_a_warped_dimension_is_searched_in_its_mass() -> None:
    parameters = [
        {"name": "x", "parameterType": "double",
         "feasibleSpace": {"min": "-1e200", "max": "1e200"}},
        {"name": "y", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}},
    ]  # fmt: skip
    of = experiment("tpe", parameters)
    assert isinstance(space_of(of.spec.parameters).dimensions[0], Warped)
    made = searched(of, 30, lambda values: abs(float(values["x"]) / 1e200 - 0.3))
    assert min(abs(float(t.assignments["x"]) / 1e200 - 0.3) for t in made.trials) < 0.1


# ----------------------------------------------------------------------------------- cmaes


@pytest.mark.slow
def test_cmaes_finds_the_minimum() -> None:
    made = searched(experiment("cmaes", UNIT), 200, sphere, batch=4)
    assert min(sphere(trial.assignments) for trial in made.trials) < 1e-3


def test_cmaes_keeps_only_numbers_in_the_history() -> None:
    made = searched(experiment("cmaes", UNIT), 40, sphere)
    kept = json.dumps([trial.attributes for trial in made.trials])
    assert len(kept) < 40 * 80
    assert {key for trial in made.trials for key in trial.attributes} == {
        "cmaes:generation",
        "cmaes:learnt_from",
    }


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("algorithm", ["cmaes", "tpe", "optuna:NSGAIISampler"])
def test_a_pickle_in_a_history_from_elsewhere_is_never_read(algorithm: str, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    text = pickle.dumps(Trap(trap)).hex()
    poison = {f"{kind}optimizer:0": text for kind in ("cma:", "cmawm:", "sepcma:")}
    made = searched(experiment(algorithm, UNIT), 12, sphere)
    made = replace(
        made,
        trials=tuple(replace(t, attributes={**t.attributes, **poison}) for t in made.trials),
    )
    assert len(suggest(load_history(dump_history(made)), 2)) == 2
    assert not trap.exists()


def test_cmaes_does_not_change_its_mind_about_a_generation_when_a_trial_ends_late() -> None:
    of = experiment("cmaes", UNIT)
    made = searched(of, 1, sphere)
    [late] = suggest(made, 1)
    made = made.with_trials([running(1, late)])
    while len(made.trials) < 12:
        [suggestion] = suggest(made, 1)
        number = made.next_number
        made = made.with_trials([ended(number, suggestion, sphere(suggestion.assignments))])
    learnt = [trial.attributes.get("cmaes:learnt_from") for trial in made.trials]
    [numbers] = [found for found in learnt if found]
    assert 1 not in numbers
    before = suggest(made, 1)
    assert suggest(made.with_trials([ended(1, late, 0.0)]), 1) == before


@pytest.mark.parametrize("attributes", [
    {"cmaes:generation": 1, "cmaes:learnt_from": [99, 98]},
    {"cmaes:generation": 1, "cmaes:learnt_from": ["a"] * 7},
    {"cmaes:generation": -5}, {"cmaes:generation": 10**9}, {"cmaes:generation": []},
], ids=str)  # fmt: skip
def test_cmaes_takes_strange_attributes(attributes: dict[str, Any]) -> None:
    made = searched(experiment("cmaes", UNIT), 10, sphere)
    made = made.with_trials([replace(made.trials[7], attributes=attributes)])
    assert len(suggest(made, 2)) == 2


@pytest.mark.slow
@pytest.mark.long
def test_cmaes_restarts_with_a_larger_population() -> None:
    """On a flat function it stops soon; ipop then starts over, twice as wide."""
    sizes: dict[str, int] = {}
    for strategy in ("none", "ipop", "bipop"):
        of = experiment("cmaes", UNIT[:2], {"restart_strategy": strategy})
        made = searched(of, 170, lambda values: 1.0, batch=6)
        sizes[strategy] = max(
            len(trial.attributes.get("cmaes:learnt_from", ())) for trial in made.trials
        )
    assert sizes == {"none": 6, "ipop": 12, "bipop": 12}


RANGES: list[dict[str, Any]] = [
    {
        "name": name,
        "parameterType": kind,
        "feasibleSpace": {"min": low, "max": high, **more},
    }
    for name, kind, low, high, more in [
        ("rate", "double", "0.01", "0.03", {}),
        ("width", "double", "-500", "1500", {}),
        ("steps", "double", "0", "10", {"step": "0.5"}),
        ("layers", "int", "0", "1000", {}),
    ]
]


def spread(settings: dict[str, str]) -> dict[str, float]:
    """The standard deviation of the first values of each parameter."""
    seen = [
        suggest(history(experiment("cmaes", RANGES, settings), seed=seed), 6) for seed in range(40)
    ]
    return {
        entry["name"]: statistics.pstdev(
            float(each.assignments[entry["name"]]) for found in seen for each in found
        )
        for entry in RANGES
    }


@pytest.mark.slow
def test_sigma_is_in_the_parameters_own_units() -> None:
    small = spread({"sigma": "0.001"})
    assert small["rate"] == pytest.approx(0.001, rel=0.25)
    assert small["width"] == pytest.approx(0.001, rel=0.25)
    assert spread({"sigma": "1.5"})["steps"] == pytest.approx(1.5, rel=0.25)
    assert spread({"sigma": "20"})["layers"] == pytest.approx(20, rel=0.25)


def test_sigma_0_is_the_default() -> None:
    first, *others = (
        suggest(history(experiment("cmaes", RANGES, settings), seed=3), 4)
        for settings in ({}, {"sigma": "0"}, {"sigma": "-1"}, {"restart_strategy": "none"})
    )
    assert all(each == first for each in others)


def test_bipop_takes_turns_between_small_and_doubled_populations() -> None:
    """On a flat function each population stops after some generations; the budgets stay alike."""
    restarts, budgets = Restarts("bipop", 6), {True: 0, False: 0}
    populations = []
    for _ in range(12):
        budgets[restarts.is_large] += restarts.population * 10
        restarts = restarts.next(10, seed=7)
        populations.append((restarts.is_large, restarts.population))
        assert restarts.is_large == (budgets[False] >= budgets[True])
    large = [size for is_large, size in populations if is_large]
    small = [size for is_large, size in populations if not is_large]
    assert large == [6 * 2**count for count in range(1, len(large) + 1)]
    assert small and all(6 <= size <= large[-1] for size in small)


def test_ipop_doubles_the_population_at_each_restart() -> None:
    restarts = Restarts("ipop", 6)
    assert [(restarts := restarts.next(5, seed=1)).population for _ in range(3)] == [12, 24, 48]


# ------------------------------------------------------------------------------- hyperband


LAYERS = [MIXED[0], MIXED[1]]
BANDS = {"resource_name": "layers", "r_l": "9", "eta": "3"}


def banded(**more: Any) -> Experiment:
    return experiment("hyperband", LAYERS, BANDS, parallelTrialCount=9, **more)


def resource_loss(values: Mapping[str, str]) -> float:
    return abs(float(values["lr"]) - 0.03)


def stage_sizes(of: History) -> list[tuple[int, int, int]]:
    """For each bracket and stage in the order of trials: its trials and their resource."""
    found: list[tuple[int, int, int]] = []
    for trial in of.trials:
        place = tuple(trial.attributes["hyperband:stage"])
        resource = int(trial.assignments["layers"])
        if found and found[-1][0] == place[0] and found[-1][2] == resource:
            found[-1] = (place[0], found[-1][1] + 1, resource)
        else:
            found.append((place[0], 1, resource))
    return found


def test_hyperband_has_katibs_brackets() -> None:
    made = searched(banded(), 100, resource_loss, batch=9)
    assert stage_sizes(made) == [
        (2, 9, 1), (2, 3, 3), (2, 1, 9), (1, 5, 3), (1, 2, 9), (0, 3, 9),
    ]  # fmt: skip
    assert is_used_up(made)
    assert suggest(made, 1) == ()


def test_hyperband_runs_the_best_of_a_stage_again_with_more() -> None:
    made = searched(banded(), 13, resource_loss, batch=9)
    best = sorted(made.trials[:9], key=lambda t: resource_loss(t.assignments))[:3]
    again = made.trials[9:12]
    assert [t.attributes["hyperband:of"] for t in again] == [t.number for t in best]
    assert [t.assignments["lr"] for t in again] == [t.assignments["lr"] for t in best]
    assert {t.assignments["layers"] for t in again} == {"3"}
    assert made.trials[12].assignments == {**best[0].assignments, "layers": "9"}


def test_hyperband_maximizes_too() -> None:
    of = banded(objective={"type": "maximize", "objectiveMetricName": "loss"})
    made = searched(of, 12, resource_loss, batch=9)
    best = max(made.trials[:9], key=lambda t: resource_loss(t.assignments))
    assert made.trials[9].attributes["hyperband:of"] == best.number


def test_hyperband_makes_a_stage_in_batches_and_promotes_when_all_of_it_has_ended() -> None:
    made = history(experiment("hyperband", LAYERS, BANDS, parallelTrialCount=4))
    stages = []
    while batch := suggest(made, 4):
        stages += [tuple(each.attributes["hyperband:stage"]) for each in batch]
        made = made.with_trials(
            ended(made.next_number + index, each, float(made.next_number + index))
            for index, each in enumerate(batch)
        )
    assert stages[:13] == [(2, 0)] * 9 + [(2, 1)] * 3 + [(2, 2)]
    assert [t.attributes["hyperband:of"] for t in made.trials[9:12]] == [0, 1, 2]


def test_hyperband_waits_for_a_stage_to_end() -> None:
    made = history(banded())
    first = suggest(made, 12)
    assert len(first) == 9
    made = made.with_trials(running(number, s) for number, s in enumerate(first))
    assert suggest(made, 3) == ()
    assert not is_used_up(made)
    done = [ended(n, s, resource_loss(s.assignments)) for n, s in enumerate(first)]
    assert suggest(made.with_trials(done[:8]), 3) == ()
    assert len(suggest(made.with_trials(done), 9)) == 3


def test_hyperband_starts_the_next_bracket_while_the_last_stage_runs() -> None:
    made = searched(banded(), 12, resource_loss, batch=9)
    [last] = suggest(made, 1)
    made = made.with_trials([running(12, last)])
    assert len(suggest(made, 9)) == 5


def test_hyperband_does_not_promote_trials_that_failed_or_were_stopped() -> None:
    made = history(banded())
    trials = [ended(n, s, resource_loss(s.assignments)) for n, s in enumerate(suggest(made, 9))]
    states = [TrialState.FAIL] * 4 + [TrialState.PRUNED] * 3 + [TrialState.COMPLETE] * 2
    made = made.with_trials(
        replace(trial, state=state) for trial, state in zip(trials, states, strict=True)
    )
    assert {s.attributes["hyperband:of"] for s in suggest(made, 9)} == {7, 8}


def test_hyperband_goes_on_with_the_next_bracket_when_a_whole_stage_failed() -> None:
    made = history(banded())
    first = suggest(made, 9)
    made = made.with_trials(ended(n, s, None, TrialState.FAIL) for n, s in enumerate(first))
    found = suggest(made, 9)
    assert [s.attributes["hyperband:stage"] for s in found] == [[1, 0]] * 5


def test_a_killed_trial_of_hyperband_is_made_up_for() -> None:
    made = searched(banded(), 9, resource_loss, batch=9)
    made = made.with_trials([replace(made.trials[4], state=TrialState.KILLED)])
    [replacement] = suggest(made, 4)
    assert replacement.attributes["hyperband:stage"] == [2, 0]


def test_katibs_example_sets_the_resource_outside_its_space() -> None:
    parameters = [
        MIXED[0],
        {"name": "num-epochs", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "1"}},
    ]
    of = experiment(
        "hyperband", parameters, {"resource_name": "num-epochs", "eta": "2", "r_l": "2"},
        parallelTrialCount=2,
    )  # fmt: skip
    made = searched(of, 20, lambda values: float(values["lr"]), batch=2)
    assert [trial.assignments["num-epochs"] for trial in made.trials] == ["1", "1", "2", "2", "2"]


def test_hyperband_is_the_same_rebuilt_and_live() -> None:
    live, made = Suggester(banded()), history(banded())
    for _ in range(10):
        suggestions = live.suggest(made, 4)
        assert suggestions == suggest(load_history(dump_history(made)), 4)
        made = made.with_trials(
            ended(made.next_number + index, s, resource_loss(s.assignments))
            for index, s in enumerate(suggestions)
        )


# ------------------------------------------------------------------------------------- pbt


POPULATION = {
    "suggestion_trial_dir": "/ckpt",
    "n_population": "10",
    "truncation_threshold": "0.2",
}


def populated(parameters: Any = MIXED, **settings: str) -> Experiment:
    return experiment("pbt", parameters, {**POPULATION, **settings})


def generations(of: History) -> list[int]:
    return [trial.attributes["pbt:generation"] for trial in of.trials]


def test_pbt_makes_generations_of_the_population() -> None:
    made = searched(populated(), 35, batch=5)
    assert generations(made) == [0] * 10 + [1] * 10 + [2] * 10 + [3] * 5
    space = space_of(made.experiment.spec.parameters)
    assert all(space.numbers(trial.assignments) for trial in made.trials)


def test_every_later_trial_has_a_parent_of_the_generation_before() -> None:
    made = searched(populated(), 30)
    assert all("pbt:parent" not in trial.attributes for trial in made.trials[:10])
    for trial in made.trials[10:]:
        parent = made.trials[trial.attributes["pbt:parent"]]
        assert parent.attributes["pbt:generation"] == trial.attributes["pbt:generation"] - 1


def test_pbt_copies_the_best_in_place_of_the_worst() -> None:
    made = searched(populated(), 20)
    ranked = sorted(made.trials[:10], key=lambda t: mixed_loss(t.assignments))
    best, worst = {t.number for t in ranked[:2]}, {t.number for t in ranked[-2:]}
    children = made.trials[10:]
    copies = [
        t for t in children if t.assignments == made.trials[t.attributes["pbt:parent"]].assignments
    ]
    assert len(copies) == 2
    assert {t.attributes["pbt:parent"] for t in copies} <= best
    parents = [t.attributes["pbt:parent"] for t in children]
    assert not worst & set(parents)
    assert len(set(parents)) == 8


def test_pbt_changes_values_by_a_fifth_or_to_the_neighbour() -> None:
    made = searched(populated(), 20)
    for trial in made.trials[10:]:
        parent = made.trials[trial.attributes["pbt:parent"]]
        if trial.assignments == parent.assignments:
            continue
        ratio = float(trial.assignments["lr"]) / float(parent.assignments["lr"])
        assert (
            ratio == pytest.approx(0.8)
            or ratio == pytest.approx(1.2)
            or float(trial.assignments["lr"]) in (1e-4, 0.1)
        )
        assert trial.assignments["act"] != parent.assignments["act"]
        layers = int(trial.assignments["layers"]) - int(parent.assignments["layers"])
        assert abs(layers) <= 2
        assert layers or parent.assignments["layers"] in ("1", "9")


@pytest.mark.parametrize(("probability", "kept"), [("0", True), ("1", False)])
def test_pbt_draws_values_anew_with_the_given_probability(probability: str, kept: bool) -> None:
    made = searched(populated(resample_probability=probability), 20)
    same = [
        trial.assignments == made.trials[trial.attributes["pbt:parent"]].assignments
        for trial in made.trials[10:]
    ]
    assert all(same) if kept else sum(same) <= 3


def test_pbt_does_not_wait_for_the_last_of_a_generation() -> None:
    made = searched(populated(), 8)
    pending = suggest(made, 5)
    assert len(pending) == 5
    assert {s.attributes["pbt:generation"] for s in pending} == {0}


def test_pbt_runs_a_failed_trial_again_once_with_the_same_parent() -> None:
    made = searched(populated(), 14)
    [suggestion] = suggest(made, 1)
    made = made.with_trials([ended(14, suggestion, None, TrialState.FAIL)])
    [again] = suggest(made, 1)
    assert again.assignments == suggestion.assignments
    assert again.attributes == {**suggestion.attributes, "pbt:again": 14}
    made = made.with_trials([ended(15, again, None, TrialState.FAIL)])
    [other] = suggest(made, 1)
    assert "pbt:again" not in other.attributes


def test_a_trial_of_pbt_says_which_checkpoint_it_starts_from() -> None:
    made = searched(populated(), 12)
    first, last = (checkpoint_of(made.experiment, t) for t in (made.trials[0], made.trials[11]))
    assert first is not None and last is not None
    assert (first.path, first.generation, first.parent) == ("/ckpt", 0, None)
    assert (last.generation, last.parent) == (1, made.trials[11].attributes["pbt:parent"])
    other = searched(experiment("random"), 1)
    assert checkpoint_of(other.experiment, other.trials[0]) is None


def test_pbt_is_the_same_rebuilt_and_live_and_other_for_another_seed() -> None:
    of = populated()
    live, made = Suggester(of), history(of)
    for _ in range(9):
        suggestions = live.suggest(made, 4)
        assert suggestions == suggest(load_history(dump_history(made)), 4)
        made = made.with_trials(
            ended(made.next_number + index, s, mixed_loss(s.assignments))
            for index, s in enumerate(suggestions)
        )
    assert suggest(history(of, 1), 2) != suggest(history(of, 2), 2)


def test_pbt_gets_better() -> None:
    made = searched(populated(), 100, batch=5)
    values = [mixed_loss(trial.assignments) for trial in made.trials]
    assert min(values[50:]) <= min(values[:10])


@pytest.mark.parametrize("threshold", ["0", "0.5", "1"])
def test_pbt_takes_every_threshold(threshold: str) -> None:
    made = searched(populated(SMALL, truncation_threshold=threshold), 25,
                    lambda values: float(values["b"]))  # fmt: skip
    assert generations(made)[-1] == 2


def test_every_algorithm_is_tested_here_or_in_the_contract() -> None:
    from tests.unit.suggestion.algorithms.test_samplers import CASES

    cases = {getattr(case, "values", [case])[0].algorithm for case in CASES}
    searches_of_networks = {"enas", "darts"}
    assert set(ALGORITHMS) <= cases | {"hyperband", "pbt"} | searches_of_networks


def test_a_suggestion_without_attributes_is_a_suggestion() -> None:
    assert Suggestion({"a": "1"}).attributes == {}


@pytest.mark.parametrize("strategy", ["none", "bipop"])
def test_cmaes_that_goes_on_suggests_what_a_new_replay_suggests(strategy: str) -> None:
    of = experiment("cmaes", UNIT, {"restart_strategy": strategy})
    whole = searched(of, 60, sphere, batch=3)
    suggester = Suggester(of)
    # One further at each step, then without a trial that was learnt from, then the first ones.
    courses = [whole.trials[:count] for count in range(0, 61, 4)]
    courses += [(*whole.trials[:9], *whole.trials[10:]), whole.trials[:21], whole.trials]
    for trials in courses:
        at = replace(whole, trials=trials)
        assert suggester.suggest(at, 2) == suggest(at, 2)
