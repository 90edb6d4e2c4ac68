"""Runs the sampler contract for every algorithm."""

from __future__ import annotations

import pytest

from tests.searching import MIXED
from tests.unit.suggestion.algorithms.sampler_contract import Case, SamplerContract

COUNTABLE = [
    {**MIXED[0], "feasibleSpace": {"min": "0", "max": "0.1", "step": "0.0001"}},
    *MIXED[1:],
]

CASES = [
    Case("random"),
    Case("grid", parameters=COUNTABLE),
    Case("tpe"),
    Case("tpe", {"gamma": "0.3", "prior_weight": "0.5", "n_EI_candidates": "8"}),
    Case("multivariate-tpe", {"n_startup_trials": "5"}),
    pytest.param(
        Case("bayesianoptimization", {"n_initial_points": "5"}, seconds=20),
        marks=pytest.mark.long,
        id="bayesianoptimization",
    ),
    Case("cmaes"),
    Case("cmaes", {"restart_strategy": "ipop", "sigma": "0.3"}),
    Case("sobol"),
    Case("auto"),
    Case("optuna:RandomSampler"),
    Case("optuna:TPESampler", {"n_startup_trials": "4", "group": "true"}),
    Case("optuna:NSGAIISampler", {"population_size": "6"}),
    Case("optuna:NSGAIIISampler", {"population_size": "6"}),
    Case("optuna:QMCSampler"),
    Case("optuna:QMCSampler", {"qmc_type": "halton", "scramble": "true"}),
]


@pytest.mark.slow
class TestSamplers(SamplerContract):
    @pytest.fixture(
        params=CASES,
        ids=lambda case: " ".join([case.algorithm, *case.settings]),
    )
    def case(self, request: pytest.FixtureRequest) -> Case:
        case = request.param
        assert isinstance(case, Case)
        return case
