"""The controller of ENAS: it learns, and what it suggests follows from the history alone."""

from __future__ import annotations

import ast
import random
from dataclasses import replace

import pytest

from katibflow.study.history import (
    History,
    Observation,
    Trial,
    TrialState,
    dump_history,
    load_history,
)
from katibflow.suggestion.suggester import Suggester, Suggestion, suggest
from tests.nas import FEW, QUICK, enas, model

pytest.importorskip("torch")

GOOD = (1, 4)
"""The operations that are rewarded: two of six."""


def share(trial: Suggestion | Trial) -> float:
    """The share of layers with a rewarded operation."""
    layers = ast.literal_eval(trial.assignments["architecture"])
    return sum(layer[0] in GOOD for layer in layers) / len(layers)


def ended(number: int, suggestion: Suggestion, sign: float = 1.0) -> Trial:
    value = sign * (share(suggestion) + random.Random(number).gauss(0, 0.05))
    seen = {"Validation-Accuracy": Observation(value, value, value)}
    return Trial(
        number,
        TrialState.COMPLETE,
        suggestion.assignments,
        seen,
        attributes=suggestion.attributes,
    )


def searched(of: History, rounds: int, suggester: Suggester | None = None) -> History:
    """The history with rounds of five trials."""
    known = suggester or Suggester(of.experiment)
    for _ in range(rounds):
        made = known.suggest(of, 5)
        sign = 1.0 if of.experiment.spec.objective.type == "maximize" else -1.0
        of = of.with_trials(ended(of.next_number + i, each, sign) for i, each in enumerate(made))
    return of


def new(seed: int = 1, goal: str = "maximize") -> History:
    document = enas(layers=2, operations=FEW, settings=QUICK)
    document["spec"]["objective"]["type"] = goal
    return History(model(document), "0" * 8, seed)


def test_what_is_rewarded_is_drawn_more_often() -> None:
    for seed, goal in ((1, "maximize"), (2, "minimize")):
        shares = [share(trial) for trial in searched(new(seed, goal), 6).trials]
        assert sum(shares[-10:]) > sum(shares[:10])
        assert sum(shares[-10:]) / 10 >= 0.7


@pytest.mark.long
def test_it_learns_with_every_seed() -> None:
    first, last = [], []
    for seed in range(8):
        shares = [share(trial) for trial in searched(new(seed), 16).trials]
        first.append(sum(shares[:10]) / 10)
        last.append(sum(shares[-20:]) / 20)
    assert min(last) > 0.7, last
    assert sum(last) / len(last) > 0.85 > 0.6 > sum(first) / len(first)


def test_a_run_that_goes_on_elsewhere_is_suggested_the_same() -> None:
    suggester = Suggester(new().experiment)
    kept = searched(new(), 3, suggester)
    again = load_history(dump_history(kept))
    assert suggest(again, 3) == suggester.suggest(kept, 3)
    assert suggest(replace(kept, seed=2), 3) != suggest(kept, 3)
    learnt = [trial.attributes.get("enas:learnt_from") for trial in kept.trials]
    assert [each for each in learnt if each] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_what_failed_or_cannot_be_read_teaches_nothing() -> None:
    first = suggest(new(), 4)
    whole = new().with_trials(ended(number, each) for number, each in enumerate(first))
    strange = {"architecture": "[[9], [0, 7]]", "nn_config": ""}
    more = (
        Trial(4, TrialState.FAIL, first[0].assignments),
        replace(whole.trials[0], number=5, assignments=strange),
        Trial(6, TrialState.RUNNING, first[0].assignments),
    )
    (suggestion,) = suggest(whole.with_trials(more), 1)
    assert suggestion.attributes == {"enas:learnt_from": [0, 1, 2, 3]}


def test_one_layer_and_settings_that_are_none_are_learnt_too() -> None:
    names = ("temperature", "tanh_const", "entropy_weight", "skip_weight")
    settings = {**QUICK, **{f"controller_{name}": "None" for name in names}}
    of = History(model(enas(operations=FEW, settings=settings)), "0" * 8, 1)
    assert len({trial.assignments["architecture"] for trial in searched(of, 2).trials}) > 1
