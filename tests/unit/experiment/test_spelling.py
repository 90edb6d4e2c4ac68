"""The word that a user probably meant."""

from __future__ import annotations

import pytest

from katibflow.experiment.spelling import did_you_mean
from katibflow.suggestion.algorithms import ALGORITHMS


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("bayesian", " (did you mean bayesianoptimization?)"),
        ("Optimization", " (did you mean bayesianoptimization?)"),
        ("gridsearch", " (did you mean grid?)"),
        ("rando", " (did you mean random?)"),
        ("tp", " (did you mean tpe?)"),
        ("xyz", ""),
    ],
)
def test_an_algorithm_is_meant_by_a_part_of_its_name(word: str, meant: str) -> None:
    assert did_you_mean(word, ALGORITHMS) == meant


def test_a_part_of_many_words_means_none() -> None:
    assert did_you_mean("opt", [f"{each}-of-optuna" for each in "abcd"]) == ""
