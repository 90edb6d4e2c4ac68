"""Our TPE and random draw what Optuna's own samplers draw, from the same study."""

from __future__ import annotations

import random
from typing import Any

import optuna
import pytest

from katibflow.experiment.types import Experiment
from katibflow.study.history import Trial, TrialState
from katibflow.study.optuna_study import quiet_optuna
from katibflow.suggestion.algorithms.base import Suggestion, derived_seed
from katibflow.suggestion.algorithms.tpe import OnceTPESampler
from katibflow.suggestion.history_storage import HistoryStorage, directions_of
from katibflow.suggestion.space.search_space import Space, space_of
from katibflow.suggestion.suggester import suggest
from tests.searching import MIXED, ended, experiment, history, mixed_loss, running

WHEN = [
    *MIXED[:4],
    {**MIXED[4], "when": {"batch": ["16", "64"]}},
]


def trials(space: Space, count: int, dice: random.Random) -> tuple[Trial, ...]:
    """Trials in all states, also two that run."""
    states = [TrialState.COMPLETE] * 4 + [TrialState.PRUNED, TrialState.FAIL, TrialState.KILLED]
    made: list[Trial] = []
    for number in range(count):

        def draw(dimension: Any) -> float | str:
            return dimension.number(dimension.at(dice.random()))  # type: ignore[no-any-return]

        suggestion = Suggestion(space.drawn(draw))
        if number in (count - 9, count - 1):
            made.append(running(number, suggestion))
            continue
        state = dice.choice(states)
        values = mixed_loss({"act": "tanh", **suggestion.assignments})
        made.append(ended(number, suggestion, values, state, (values + 1, values)))
    return tuple(made)


def asked(sampler: optuna.samplers.BaseSampler, storage: HistoryStorage, space: Space) -> Any:
    study = optuna.create_study(
        storage=storage, sampler=sampler, directions=storage.get_study_directions(0)
    )
    return study.ask(space.distributions()).params


@pytest.mark.parametrize("parameters", [MIXED, WHEN], ids=["plain", "conditions"])
@pytest.mark.parametrize("multivariate", [False, True], ids=["single", "multivariate"])
def test_it_draws_what_optunas_tpe_draws(
    parameters: list[dict[str, Any]], multivariate: bool
) -> None:
    of: Experiment = experiment("tpe", parameters)
    space = space_of(of.spec.parameters)
    storage = HistoryStorage(space, of.spec.objective, teaches=True)
    storage.create_new_study(directions_of(of.spec.objective))
    options: dict[str, Any] = {"multivariate": multivariate, "group": multivariate}
    made = trials(space, 60, random.Random(3))
    with quiet_optuna():
        # The second look is at what is remembered, the third after a trial has ended since.
        later = (*made[:-1], ended(59, Suggestion(made[-1].assignments), 0.1))
        for seed, known in ((1, made), (2, made), (3, later)):
            storage.follow(known)
            ours = asked(OnceTPESampler(seed=seed, **options), storage, space)
            storage.follow(known)
            theirs = optuna.samplers.TPESampler(seed=seed, constant_liar=True, **options)
            assert ours == asked(theirs, storage, space)


def test_random_draws_what_optunas_sampler_draws_in_a_study() -> None:
    of = experiment("random", [*MIXED, {"name": "one", "parameterType": "discrete",
                                        "feasibleSpace": {"list": ["7"]}}])  # fmt: skip
    space = space_of(of.spec.parameters)
    sampler = optuna.samplers.RandomSampler(seed=derived_seed("1/0/0"))
    storage = HistoryStorage(space, of.spec.objective)
    storage.create_new_study(directions_of(of.spec.objective))
    with quiet_optuna():
        theirs = asked(sampler, storage, space)
    (ours,) = suggest(history(of), 1)
    assert space.numbers(ours.assignments) == theirs
