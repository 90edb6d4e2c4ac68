"""The tests that every algorithm passes; a subclass gives a fixture ``case``."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest

from katibflow.experiment.types import Experiment
from katibflow.study.history import History, Trial, TrialState, dump_history, load_history
from katibflow.suggestion.space.search_space import space_of
from katibflow.suggestion.suggester import Suggester, Suggestion, is_used_up, new_seed, suggest
from tests.searching import MIXED, SMALL, ended, experiment, history, mixed_loss, running, searched


@dataclass(frozen=True)
class Case:
    """One algorithm to test.

    Attributes:
        algorithm: Name of the algorithm.
        settings: Settings for the algorithm.
        parameters: A space with each kind of parameter that the algorithm can search.
        seconds: Time limit of the 1,001st suggestion, rebuilt from the history.
    """

    algorithm: str
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Sequence[Mapping[str, Any]] = tuple(MIXED)
    seconds: float = 1.0

    def experiment(self, **changes: Any) -> Experiment:
        return experiment(self.algorithm, self.parameters, self.settings, **changes)

    def small(self) -> Experiment:
        return experiment(self.algorithm, SMALL, self.settings)


def assignments(suggestions: Sequence[Suggestion]) -> list[dict[str, str]]:
    return [dict(suggestion.assignments) for suggestion in suggestions]


def small_loss(values: Mapping[str, str]) -> float:
    return abs(int(values["a"]) - 2) + float(values["b"])


def reread(of: History) -> History:
    """Returns the history as a later process reads it."""
    return load_history(dump_history(of))


class SamplerContract:
    """The tests of every algorithm."""

    def test_what_it_suggests_is_inside_the_space(self, case: Case) -> None:
        made = searched(case.experiment(), 30, batch=3)
        space = space_of(made.experiment.spec.parameters)
        assert len(made.trials) == 30
        for trial in made.trials:
            assert space.numbers(trial.assignments) is not None
            assert list(trial.assignments) == [p["name"] for p in case.parameters]

    def test_the_same_history_and_seed_give_the_same_suggestions(self, case: Case) -> None:
        made = searched(case.experiment(), 25, batch=2)
        assert suggest(made, 3) == suggest(made, 3) == suggest(reread(made), 3)

    def test_a_study_that_lived_on_suggests_what_a_rebuilt_one_does(self, case: Case) -> None:
        of = case.experiment()
        live, made = Suggester(of), history(of)
        for turn in range(12):
            suggestions = live.suggest(made, 2)
            assert suggestions == suggest(reread(made), 2)
            json.dumps([dict(suggestion.attributes) for suggestion in suggestions])
            first, second = suggestions
            number = made.next_number
            made = made.with_trials(
                [
                    ended(number, first, mixed_loss(first.assignments)),
                    running(number + 1, second),
                ]
            )
            if turn:
                late = made.trials[number - 1]
                made = made.with_trials(
                    [ended(late.number, Suggestion(late.assignments, late.attributes), 1.0)]
                )

    def test_suggestions_one_by_one_are_those_of_a_batch(self, case: Case) -> None:
        made = searched(case.experiment(), 12)
        batch = suggest(made, 3)
        single: list[Suggestion] = []
        for _ in range(3):
            single += suggest(made, 1)
            made = made.with_trials([running(made.next_number, single[-1])])
        assert list(batch) == single

    def test_other_seeds_give_other_suggestions(self, case: Case) -> None:
        of = case.experiment()
        one, two = (assignments(suggest(history(of, seed), 5)) for seed in (1, 2))
        assert one != two

    def test_random_state_is_the_seed(self, case: Case) -> None:
        of = experiment(case.algorithm, case.parameters, {**case.settings, "random_state": "7"})
        assert new_seed(of, "any") == 7
        assert new_seed(case.experiment(), "one") != new_seed(case.experiment(), "two")

    def test_a_batch_has_no_two_equal_suggestions(self, case: Case) -> None:
        for made in (history(case.experiment()), searched(case.experiment(), 20)):
            found = assignments(suggest(made, 6))
            assert all(one not in found[:index] for index, one in enumerate(found))

    def test_a_finite_space_is_tried_to_its_end_without_repeating(self, case: Case) -> None:
        made = searched(case.small(), 20, small_loss, batch=2)
        tried = [tuple(trial.assignments.items()) for trial in made.trials]
        assert len(tried) == len(set(tried)) == 9
        assert suggest(made, 1) == ()
        assert is_used_up(made)

    def test_it_gives_fewer_at_the_end_of_a_finite_space(self, case: Case) -> None:
        made = searched(case.small(), 7, small_loss)
        assert not is_used_up(made)
        assert len(suggest(made, 5)) == 2

    def test_running_trials_use_up_a_finite_space(self, case: Case) -> None:
        made = history(case.small())
        for _ in range(9):
            made = made.with_trials([running(made.next_number, suggest(made, 1)[0])])
        assert is_used_up(made)
        assert suggest(made, 1) == ()

    def test_the_combination_of_a_killed_trial_may_come_again(self, case: Case) -> None:
        made = searched(case.small(), 9, small_loss)
        killed = replace(made.trials[4], state=TrialState.KILLED, observations={})
        made = made.with_trials([killed])
        assert not is_used_up(made)
        again = suggest(made, 2)
        assert assignments(again) == [dict(killed.assignments)]

    @pytest.mark.parametrize(
        ("state", "value"),
        [
            (TrialState.FAIL, None),
            (TrialState.COMPLETE, math.nan),
            (TrialState.COMPLETE, math.inf),
            (TrialState.COMPLETE, None),
            (TrialState.KILLED, None),
        ],
        ids=["failed", "nan", "infinite", "no metric", "killed"],
    )
    def test_trials_without_a_value_do_not_break_it(
        self, case: Case, state: TrialState, value: float | None
    ) -> None:
        made = history(case.experiment())
        for number in range(24):
            [suggestion] = suggest(made, 1)
            good = number % 2
            trial = (
                ended(number, suggestion, mixed_loss(suggestion.assignments))
                if good
                else ended(number, suggestion, value, state)
            )
            made = made.with_trials([trial])
        assert len(suggest(made, 2)) == 2

    def test_it_goes_on_when_every_trial_failed(self, case: Case) -> None:
        made = history(case.experiment())
        for number in range(15):
            [suggestion] = suggest(made, 1)
            made = made.with_trials([ended(number, suggestion, None, TrialState.FAIL)])
        assert len(suggest(made, 1)) == 1

    def test_it_goes_on_when_all_values_are_equal(self, case: Case) -> None:
        made = searched(case.experiment(), 25, lambda values: 1.0)
        assert len(suggest(made, 2)) == 2

    def test_stopped_trials_and_reports_do_not_break_it(self, case: Case) -> None:
        made = history(case.experiment())
        for number in range(24):
            [suggestion] = suggest(made, 1)
            value = mixed_loss(suggestion.assignments)
            state = TrialState.PRUNED if number % 3 else TrialState.COMPLETE
            series = [value + 2, math.nan, math.inf, value]
            made = made.with_trials([ended(number, suggestion, value, state, series)])
        assert suggest(made, 2) == suggest(reread(made), 2)

    def test_trials_of_another_algorithm_do_not_break_it(self, case: Case) -> None:
        made = searched(experiment("random", case.parameters), 20)
        strange = {"cma:optimizer:0": "00", "study": {"x": 1}, "cmaes:generation": "x"}
        made = replace(
            made,
            experiment=case.experiment(),
            trials=tuple(replace(trial, attributes=strange) for trial in made.trials),
        )
        assert len(suggest(made, 2)) == 2

    def test_trials_outside_the_space_do_not_break_it(self, case: Case) -> None:
        made = searched(case.experiment(), 15)
        first = case.parameters[0]["name"]
        odd = replace(made.trials[3], assignments={**made.trials[3].assignments, first: "1e9"})
        made = made.with_trials([odd, replace(made.trials[5], assignments={})])
        assert len(suggest(made, 2)) == 2

    def test_a_number_that_the_history_leaves_out_does_not_break_it(self, case: Case) -> None:
        made = searched(case.experiment(), 15)
        gap = replace(made, trials=(*made.trials[:4], *made.trials[6:]))
        assert len(suggest(gap, 2)) == 2

    def test_maximizing_a_value_is_minimizing_its_negative(self, case: Case) -> None:
        down = searched(case.experiment(), 25)
        up_experiment = case.experiment(
            objective={"type": "maximize", "objectiveMetricName": "loss"}
        )
        up = searched(up_experiment, 25, lambda values: -mixed_loss(values))
        assert [t.assignments for t in up.trials] == [t.assignments for t in down.trials]

    @pytest.mark.slow
    def test_a_thousand_trials_take_bounded_time(self, case: Case) -> None:
        made = _thousand(case.experiment())
        Suggester(made.experiment).suggest(made, 1)
        started = time.perf_counter()
        assert len(suggest(made, 1)) == 1
        assert time.perf_counter() - started < case.seconds * 4  # the machine is shared


def _thousand(of: Experiment) -> History:
    """Returns 1,000 finished trials with 10 reports each, as the algorithm could have made them."""
    points = _random_points(json.dumps([_plain(p) for p in of.spec.parameters]))
    marks = suggest(history(of), 1)[0].attributes
    trials: list[Trial] = []
    for trial in points.trials:
        value = mixed_loss(trial.assignments)
        series = [value + 1 / (step + 1) for step in range(10)]
        trials.append(
            ended(trial.number, Suggestion(trial.assignments, marks), value, series=series)
        )
    return replace(history(of), trials=tuple(trials))


@cache
def _random_points(parameters: str) -> History:
    return searched(experiment("random", json.loads(parameters)), 1000)


def _plain(parameter: Any) -> dict[str, Any]:
    return dict(parameter.model_dump(mode="json", by_alias=True, exclude_none=True))
