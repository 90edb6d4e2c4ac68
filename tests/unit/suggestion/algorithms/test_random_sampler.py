"""A random sampler that is seeded again draws what a new one of that seed draws."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler

from katibflow.suggestion.algorithms.random_sampler import ReseededRandomSampler
from katibflow.suggestion.suggester import suggest
from tests.searching import experiment, history, searched

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "layers": IntDistribution(1, 64),
    "optimizer": CategoricalDistribution(["sgd", "adam", "adamw"]),
}


def drawn(sampler: RandomSampler) -> list[Any]:
    nothing: Any = None
    return [
        sampler.sample_independent(nothing, nothing, name, each) for name, each in SPACE.items()
    ]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_it_draws_what_optunas_own_draws(seeds: list[int]) -> None:
    sampler = ReseededRandomSampler(0)
    drawn(sampler)
    for seed in seeds:
        sampler.reseed(seed)
        assert drawn(sampler) == drawn(RandomSampler(seed=seed))


@pytest.mark.parametrize("algorithm", ["random", "optuna:RandomSampler"])
def test_a_suggestion_does_not_depend_on_what_was_suggested_before(algorithm: str) -> None:
    of = experiment(algorithm)
    whole = searched(of, 12)
    assert searched(of, 12, batch=5).trials == whole.trials
    for count in (0, 1, 7):
        past = history(of).with_trials(whole.trials[:count])
        (alone,) = suggest(past, 1)
        assert alone.assignments == whole.trials[count].assignments
