"""Tests the algorithms by name: their settings, as Katib validates them, and their samplers."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from importlib.machinery import PathFinder
from typing import Any

import pytest

from katibflow.early_stopping import RULES
from katibflow.errors import InputError, MissingPackage
from katibflow.experiment.parsing import parse
from katibflow.experiment.types import Algorithm as AlgorithmSpec
from katibflow.suggestion import algorithms
from katibflow.suggestion.algorithms import (
    ALGORITHMS,
    check_packages,
    chosen_for,
    note_on,
    notes_on,
    settings_of,
)
from katibflow.suggestion.algorithms.samplers import BAYESIAN, MULTIVARIATE_TPE
from katibflow.suggestion.algorithms.sequences import GRID, SOBOL
from katibflow.suggestion.space.search_space import space_of
from tests.paths import ROOT
from tests.samples import changed
from tests.searching import MIXED, SMALL, experiment

PBT = {"suggestion_trial_dir": "/ckpt", "n_population": "5", "truncation_threshold": "0.2"}
NEEDY = ("grid", "hyperband", "pbt")
HYPERBAND = {"resource_name": "layers", "r_l": "9"}


def fault_texts(name: str, settings: Mapping[str, str] | None = None, **spec: Any) -> list[str]:
    pairs = [{"name": key, "value": value} for key, value in (settings or {}).items()]
    document = changed(
        {
            "spec.algorithm": {"algorithmName": name, "algorithmSettings": pairs},
            "spec.parameters": MIXED,
            **{f"spec.{key}": value for key, value in spec.items()},
        }
    )
    return [str(fault) for fault in algorithms.faults(parse(document)[1])]


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("random", {"random_state": "-1"}, 'found "-1"; allowed: 0 to 4294967295'),
        ("random", {"random_state": "1.5"}, 'found "1.5"'),
        ("random", {"seed": "1"}, 'name: found "seed"; allowed: random_state, for random'),
        ("tpe", {"gamma": "1"}, "a number above 0, below 1"),
        ("tpe", {"gamma": "0"}, "a number above 0, below 1"),
        ("tpe", {"gamma": "nan"}, "a number above 0, below 1"),
        ("tpe", {"prior_weight": "0"}, "a number above 0"),
        ("tpe", {"n_EI_candidates": "0"}, "a whole number of at least 1"),
        ("tpe", {"n_ei_candidates": "5"}, "did you mean n_EI_candidates?"),
        ("multivariate-tpe", {"n_startup_trials": "-1"}, "a whole number of at least 0"),
        ("multivariate-tpe", {"gamma": "0.2"}, "n_ei_candidates, n_startup_trials, random_state"),
        ("bayesianoptimization", {"n_initial_points": "-1"}, "at least 0"),
        ("bayesianoptimization", {"base_estimator": "SVM"}, "allowed: GP, RF, ET, GBRT"),
        ("bayesianoptimization", {"acq_func": "UCB"}, "gp_hedge, LCB, EI, PI, EIps, PIps"),
        ("bayesianoptimization", {"acq_optimizer": "adam"}, "auto, sampling, lbfgs"),
        ("cmaes", {"sigma": "wide"}, "a number that is finite"),
        ("cmaes", {"restart_strategy": "always"}, "allowed: ipop, bipop, none"),
        ("cmaes", {"random_state": "1.5"}, "allowed: a whole number"),
        ("cmaes", {"random_state": "9223372036854775808"}, "allowed: a whole number"),
        ("sobol", {"scramble": "true"}, "allowed: random_state, for sobol"),
        ("tpee", {}, 'found "tpee" (did you mean tpe?)'),
        ("optuna:Sampler", {}, "optuna:GPSampler, optuna:NSGAIIISampler, optuna:NSGAIISampler"),
        ("optuna:CmaEsSampler", {}, "allowed: cmaes, which is the same"),
        ("optuna:GridSampler", {}, "allowed: grid"),
        ("optuna:BaseSampler", {}, "optuna:TPESampler"),
        ("optuna:NSGAIISampler", {"population_size": "1"}, "population_size"),
        ("optuna:NSGAIISampler", {"population_size": "x"}, "allowed: a whole number"),
        ("optuna:NSGAIISampler", {"population": "5"}, "did you mean population_size?"),
        ("optuna:NSGAIISampler", {"crossover": "x"}, "crossover_prob"),
        ("optuna:TPESampler", {"multivariate": "maybe"}, "true or false or none"),
        ("optuna:QMCSampler", {"qmc_type": "lattice"}, "lattice"),
        ("hyperband", {"r_l": "9"}, "no resource_name; allowed: a setting resource_name"),
        ("hyperband", {"resource_name": "lr"}, "no r_l; allowed: a setting r_l: a number"),
        ("hyperband", {**HYPERBAND, "resource_name": "epochs"}, 'found "epochs"; allowed: a param'),
        ("hyperband", {**HYPERBAND, "r_l": "0"}, "a number of at least 1"),
        ("hyperband", {**HYPERBAND, "eta": "1"}, "a number of at least 2"),
        ("pbt", {k: PBT[k] for k in list(PBT)[1:]}, "no suggestion_trial_dir"),
        ("pbt", {**PBT, "n_population": "4"}, "a whole number of at least 5"),
        ("pbt", {**PBT, "truncation_threshold": "1.1"}, "at most 1"),
        ("pbt", {**PBT, "resample_probability": "-1"}, "of at least 0, at most 1"),
        ("pbt", {**PBT, "suggestion_trial_dir": "ckpt"}, "an absolute path"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_setting_is_one_fault(name: str, settings: dict[str, str], words: str) -> None:
    found = fault_texts(name, settings, parallelTrialCount=9)
    assert len(found) == 1, found
    assert words in found[0]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *((name, {"random_state": "7"}) for name in ALGORITHMS if name not in NEEDY),
        ("tpe", {"gamma": "0.25", "prior_weight": "1.0", "n_EI_candidates": "24"}),
        ("multivariate-tpe", {"n_startup_trials": "0", "n_ei_candidates": "0"}),
        ("bayesianoptimization", {"base_estimator": "RF", "n_initial_points": "0",
                                  "acq_func": "EIps", "acq_optimizer": "lbfgs"}),
        ("cmaes", {"sigma": "0", "restart_strategy": "None"}),
        ("cmaes", {"sigma": "0.5", "restart_strategy": "ipop"}),
        ("cmaes", {"sigma": "-1", "restart_strategy": "bipop", "random_state": "-1"}),
        ("cmaes", {"random_state": "9223372036854775807", "popsize": "9"}),
        ("hyperband", {**HYPERBAND, "eta": "3", "random_state": "1"}),
        ("pbt", {**PBT, "resample_probability": "0.25"}),
        ("optuna:NSGAIISampler", {"population_size": "8", "mutation_prob": "none", "seed": "3"}),
        ("optuna:TPESampler", {"multivariate": "true", "group": "True", "n_startup_trials": "3"}),
        ("optuna:QMCSampler", {"qmc_type": "halton", "scramble": "true"}),
        ("optuna:GPSampler", {"deterministic_objective": "true"}),
        ("optuna:RandomSampler", {}),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_katib_and_optuna_take_has_no_fault(name: str, settings: dict[str, str]) -> None:
    assert fault_texts(name, settings, parallelTrialCount=9) == []


def test_a_setting_given_twice_is_a_fault() -> None:
    pairs = [{"name": "random_state", "value": "1"}] * 2
    document = changed({"spec.algorithm": {"algorithmName": "random", "algorithmSettings": pairs}})
    [fault] = algorithms.faults(parse(document)[1])
    assert str(fault).endswith('name: found "random_state" again; allowed: each setting once')


def test_grid_needs_a_step_on_a_double() -> None:
    [fault] = fault_texts("grid")
    assert (
        fault
        == "spec.parameters[0].feasibleSpace.step: missing; allowed: a number, for algorithm grid"
    )


@pytest.mark.parametrize("kinds", [("double",), ("double", "discrete"), ("double", "categorical")])
def test_cmaes_needs_two_numeric_parameters_as_in_katib(kinds: tuple[str, ...]) -> None:
    spaces: dict[str, Any] = {"double": {"min": "0", "max": "1"}}
    parameters = [
        {
            "name": kind,
            "parameterType": kind,
            "feasibleSpace": spaces.get(kind, {"list": ["1", "2"]}),
        }
        for kind in kinds
    ]
    [fault] = fault_texts("cmaes", parameters=parameters)
    assert "spec.parameters: found 1 numeric; allowed: at least two" in fault


@pytest.mark.parametrize(
    ("r_l", "eta", "spec", "words"),
    [
        ("9", "3", {"parallelTrialCount": 9}, "23 trials in 3 brackets, the first of 9"),
        (
            "9",
            "3",
            {"parallelTrialCount": 2},
            "the first of 9, 2 at a time (Katib wants all of the first stage at once)",
        ),
        (
            "9",
            "3",
            {"parallelTrialCount": 9, "maxTrialCount": 9},
            "the first of 9; maxTrialCount 9 ends it before any trial is promoted",
        ),
        (
            "9",
            "3",
            {"parallelTrialCount": 9, "maxTrialCount": 10},
            "the first of 9; maxTrialCount 10 ends it before that",
        ),
        ("9", "3", {"parallelTrialCount": 9, "maxTrialCount": 23}, "brackets, the first of 9"),
        ("2", "3", {"parallelTrialCount": 1, "maxTrialCount": 1}, "1 trial in 1 bracket"),
    ],
)
def test_hyperband_says_how_many_trials_its_settings_make(
    r_l: str, eta: str, spec: dict[str, Any], words: str
) -> None:
    settings = {"resource_name": "layers", "r_l": r_l, "eta": eta}
    assert fault_texts("hyperband", settings, **spec) == []
    (note,) = notes_on(experiment("hyperband", MIXED, settings, **spec).spec)
    assert note.endswith(words) or words in note
    assert ("maxTrialCount" in note) == ("maxTrialCount" in words)


def test_what_cmaes_passes_over_is_said() -> None:
    spec = experiment("cmaes", settings={"sigm": "1", "popsize": "9", "random_state": "-1"}).spec
    assert settings_of(spec.algorithm) == {"random_state": 2**32 - 1}
    assert notes_on(spec) == (
        "algorithm cmaes: passes over sigm (did you mean sigma?), popsize, as in Katib",
    )


def test_settings_are_read() -> None:
    spec = experiment("cmaes", settings={"sigma": "0.5", "random_state": "3"}).spec.algorithm
    assert settings_of(spec) == {"sigma": 0.5, "random_state": 3}


def test_an_algorithm_of_a_later_version_is_an_input_error() -> None:
    with pytest.raises(InputError, match='found "magic"; allowed: auto, bayesian'):
        settings_of(AlgorithmSpec.model_validate({"algorithmName": "magic"}))


def test_every_package_that_an_algorithm_needs_is_installed_here() -> None:
    for name in ALGORITHMS:
        check_packages(experiment(name).spec.algorithm)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    for name in ("scipy", "torch", "cmaes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name, package in {"sobol": "scipy", "cmaes": "cmaes"}.items():
        with pytest.raises(MissingPackage, match=f"algorithm {name} needs the package '{package}'"):
            check_packages(experiment(name).spec.algorithm)
    extra = r"bayesianoptimization needs katibflow\[torch\]: pip install 'katibflow\[torch\]'"
    with pytest.raises(MissingPackage, match=extra):
        check_packages(experiment("bayesianoptimization").spec.algorithm)


def test_a_sampler_of_optunahub_needs_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optunahub", None)
    (found,) = fault_texts("optunahub:samplers/ctpe/cTPESampler", parallelTrialCount=9)
    assert "pip install 'katibflow[optunahub]' (and a network)" in found


def test_what_differs_from_katib_is_said() -> None:
    assert "GPSampler" in note_on(experiment("bayesianoptimization").spec.algorithm)
    assert note_on(experiment("random").spec.algorithm) == ""


@pytest.mark.parametrize(
    ("parameters", "most", "expected"),
    [
        (SMALL, 9, GRID),
        (SMALL, 8, BAYESIAN),
        (SMALL, None, MULTIVARIATE_TPE),
        (MIXED, 50, MULTIVARIATE_TPE),
        (MIXED[:4], 50, BAYESIAN),
        (MIXED[:4], 500, MULTIVARIATE_TPE),
    ],
    ids=["all can be tried", "few", "no limit", "categorical", "mixed numbers", "many"],
)
def test_auto_chooses_by_the_space_and_the_number_of_trials(
    parameters: list[dict[str, Any]], most: int | None, expected: object
) -> None:
    changes = {} if most is None else {"maxTrialCount": most}
    assert chosen_for(experiment("auto", parameters, **changes)) is expected


def test_tpe_is_optunas_with_hyperopts_gamma() -> None:
    from optuna.samplers import TPESampler

    make = ALGORITHMS["tpe"].sampler
    assert make is not None
    with pytest.warns(FutureWarning):
        sampler = make({"gamma": 0.5}, 1)
    assert isinstance(sampler, TPESampler)
    assert sampler._gamma is not None
    assert [sampler._gamma(count) for count in (1, 16, 10**6)] == [1, 2, 25]


def test_samplers_without_deprecated_settings_give_no_warning() -> None:
    for name in ("random", "tpe", "multivariate-tpe", "bayesianoptimization"):
        make = ALGORITHMS[name].sampler
        assert make is not None
        make({}, 1)


def test_all_of_a_grid_comes_before_anything_comes_again() -> None:
    space = space_of(experiment("grid", SMALL).spec.parameters)
    assert GRID.sequence is not None
    points = [
        tuple(GRID.sequence(space, seed, index).values()) for seed in (0, 5) for index in range(9)
    ]
    assert len(set(points[:9])) == len(set(points[9:])) == 9
    assert points[:9] != points[9:]


def test_the_beginning_of_a_grid_is_spread_over_it() -> None:
    parameters = [{"name": "x", "parameterType": "int", "feasibleSpace": {"min": "0", "max": "99"}}]
    space = space_of(experiment("grid", parameters).spec.parameters)
    assert GRID.sequence is not None
    first = sorted(int(GRID.sequence(space, 1, index)["x"]) for index in range(10))
    gaps = [high - low for low, high in zip(first, [*first[1:], first[0] + 100], strict=True)]
    assert max(gaps) <= 20


def test_sobol_fills_the_space_more_evenly_than_chance() -> None:
    parameters = [
        {"name": name, "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
        for name in "ab"
    ]
    space = space_of(experiment("sobol", parameters).spec.parameters)
    assert SOBOL.sequence is not None
    points = [SOBOL.sequence(space, 3, index) for index in range(16)]
    cells = {tuple(math.floor(float(value) * 4) for value in point.values()) for point in points}
    assert len(cells) == 16


def test_the_documentation_has_every_algorithm_with_its_settings() -> None:
    text = (ROOT / "docs" / "search.md").read_text(encoding="utf-8")
    rows = {
        cells[1].strip().strip("`"): cells[2]
        for cells in (line.split("|") for line in text.splitlines())
        if len(cells) > 3
    }
    for name, algorithm in ALGORITHMS.items():
        for setting in algorithm.settings:
            assert f"`{setting}`" in rows[name] or setting == "random_state"
    for name, stopping in RULES.items():
        assert all(f"`{setting}`" in rows[name] for setting in stopping.settings)
