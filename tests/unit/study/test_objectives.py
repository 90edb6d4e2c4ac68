"""Several objectives and constraints: the front, the goal, and what is wrong with them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState as OptunaState

from katibflow.errors import InvalidExperiment
from katibflow.experiment.types import Experiment, StrategyValue
from katibflow.report.data import best_data
from katibflow.study.best import best_of
from katibflow.study.decision import decide
from katibflow.study.failures import gave_nothing
from katibflow.study.history import (
    History,
    Observation,
    Trial,
    TrialState,
    dump_history,
    load_history,
)
from katibflow.study.objectives import best_trial, best_trials, goals_met
from katibflow.study.optuna_study import study_of
from katibflow.study.reasons import ExperimentReason as Why
from katibflow.study.resume import check_resume
from katibflow.validation.rules import check_document
from tests.samples import changed

METRICS = ("loss", "latency", "accuracy")


def several(**objective: Any) -> Experiment:
    """Small loss, small latency and large accuracy; ``objective`` has changes."""
    return check_document(document(**objective), "f")


def document(**objective: Any) -> dict[str, Any]:
    return changed(
        {
            "spec.objective": {
                "type": "minimize",
                "objectiveMetricName": "loss",
                "additionalMetricNames": ["latency", "accuracy"],
                "goals": [
                    {"name": "latency", "type": "minimize"},
                    {"name": "accuracy", "type": "maximize"},
                ],
            }
            | objective
        }
    )


def tried(*rows: tuple[float | None, ...], state: TrialState = TrialState.COMPLETE) -> list[Trial]:
    """Trials by the values of `METRICS`, None for one that was not reported."""
    return [
        Trial(
            number,
            state,
            {"lr": "0.2"},
            {
                name: Observation(value, value, value)
                for name, value in zip(METRICS, row, strict=False)
                if value is not None
            },
        )
        for number, row in enumerate(rows)
    ]


def numbers(found: tuple[Trial, ...]) -> list[int]:
    return [trial.number for trial in found]


VALUES = st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.5]) | st.floats(-9, 9)


@pytest.mark.slow
@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=25))
def test_the_front_is_optunas(rows: list[tuple[float, float, float]]) -> None:
    experiment = several()
    study = study_of(History(experiment, "r", 1, tuple(tried(*rows))))
    front = best_trials(experiment.spec.objective, tried(*rows))
    assert sorted(numbers(front)) == [trial.number for trial in study.best_trials]
    losses = [rows[number][0] for number in numbers(front)]
    assert losses == sorted(losses)


@pytest.mark.slow
@given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=25), st.floats(-3, 3))
def test_the_front_under_a_constraint_is_optunas(
    rows: list[tuple[float, float, float]], most: float
) -> None:
    experiment = several(constraints=[{"name": "latency", "max": most}])
    study = study_of(History(experiment, "r", 1, tuple(tried(*rows))))
    front = best_trials(experiment.spec.objective, tried(*rows))
    assert sorted(numbers(front)) == [trial.number for trial in study.best_trials]
    assert all(rows[number][1] <= most for number in numbers(front))


@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(3))
def test_a_value_that_is_missing_or_not_finite_is_never_on_the_front(
    place: int, bad: float | None
) -> None:
    row: list[float | None] = [-9.0, -9.0, 9.0]
    row[place] = bad
    trials = tried((1, 1, 1), tuple(row))
    assert numbers(best_trials(several().spec.objective, trials)) == [0]
    study = study_of(History(several(), "r", 1, tuple(trials)))
    assert [trial.state for trial in study.trials] == [OptunaState.COMPLETE, OptunaState.FAIL]


@pytest.mark.parametrize(
    "state", [s for s in TrialState if s not in (TrialState.COMPLETE, TrialState.PRUNED)]
)
def test_a_trial_that_did_not_end_well_is_never_on_the_front(state: TrialState) -> None:
    assert best_trials(several().spec.objective, tried((1, 1, 1), state=state)) == ()


def test_equal_trials_are_all_on_the_front() -> None:
    trials = tried((1, 1, 1), (1, 1, 1), (0, 2, 1), (1, 1, 0))
    assert numbers(best_trials(several().spec.objective, trials)) == [2, 0, 1]


def test_the_front_as_data() -> None:
    of_one = several(goals=[])
    trials = tuple(tried((1, 2, 3)))
    assert best_data(History(several(), "r", 1, trials)) == {
        "front": [
            {
                "trial": 0,
                "objectives": {"loss": 1, "latency": 2, "accuracy": 3},
                "assignments": {"lr": "0.2"},
            }
        ]
    }
    assert best_data(History(of_one, "r", 1, trials)) == {
        "best": {"trial": 0, "objective": 1, "assignments": {"lr": "0.2"}}
    }
    assert best_data(History(of_one, "r", 1)) == {"best": None}


class TestGoal:
    GOALS = (
        {"name": "latency", "type": "minimize", "goal": 5},
        {"name": "accuracy", "type": "maximize"},
    )

    def test_one_trial_must_meet_all_goals(self) -> None:
        experiment = several(goal=0.5, goals=list(self.GOALS))
        apart = tried((0.4, 9, 0), (0.9, 1, 0))
        assert not decide(experiment, apart).finished
        decision = decide(experiment, tried((0.4, 9, 0), (0.9, 1, 0), (0.5, 5, 0)))
        assert (decision.reason, decision.succeeded) == (Why.GOAL_REACHED, True)
        assert decision.message == "trial 2 reached loss=0.5 and latency=5, the goals are 0.5 and 5"

    def test_an_objective_without_a_goal_does_not_count_but_must_be_there(self) -> None:
        experiment = several(goals=list(self.GOALS))
        assert not decide(experiment, tried((9, 1, None))).finished
        assert not decide(experiment, tried((math.nan, 1, 9))).finished
        assert decide(experiment, tried((9, 1, -9))).message.endswith("latency=1, the goal is 5")

    def test_without_any_goal_it_is_never_met(self) -> None:
        assert goals_met(several().spec.objective, tried((-9, -9, 9))) is None

    def test_a_trial_that_breaks_a_constraint_does_not_meet_it(self) -> None:
        objective = several(
            goal=0.5, goals=[], constraints=[{"name": "latency", "max": 3}]
        ).spec.objective
        assert goals_met(objective, tried((0.1, 4))) is None
        assert goals_met(objective, tried((0.1, 3))) is not None

    @given(st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=12), VALUES, VALUES)
    def test_it_is_met_when_any_trial_meets_it(
        self, rows: list[tuple[float, float, float]], loss: float, latency: float
    ) -> None:
        goals = [{**self.GOALS[0], "goal": latency}, self.GOALS[1]]
        experiment = several(goal=loss, goals=goals)
        met = any(row[0] <= loss and row[1] <= latency for row in rows)
        assert decide(experiment, tried(*rows)).finished == met


class TestConstraints:
    def test_the_best_trial_is_the_best_that_keeps_them(self) -> None:
        constraints = [{"name": "latency", "max": 5}, {"name": "accuracy", "min": 0.5}]
        objective = several(goals=[], constraints=constraints).spec.objective
        trials = tried((0, 5.1, 1), (1, 5, 0.4), (2, 5, 0.5), (3, 1, 1), (0, None, 1))
        best = best_trial(objective, trials)
        assert best is not None and best.number == 2
        assert best_trial(objective, trials[:2]) is None

    def test_optuna_agrees(self) -> None:
        experiment = several(goals=[], constraints=[{"name": "latency", "min": 1, "max": 5}])
        trials = tried((0, 6), (1, 0.5), (2, 3))
        study = study_of(History(experiment, "r", 1, tuple(trials)))
        assert study.best_trial.number == 2
        assert [t.constraints["latency"] for t in study.trials] == [1.0, 0.5, -2.0]

    def test_what_counts_is_the_latest_value_unless_a_strategy_says_otherwise(self) -> None:
        constraints = [{"name": "latency", "max": 5}]
        plain = several(goals=[], constraints=constraints).spec.objective
        assert plain.strategy("latency") is StrategyValue.LATEST
        assert plain.strategy("accuracy") is StrategyValue.MIN
        told = several(
            goals=[],
            constraints=constraints,
            metricStrategies=[{"name": "latency", "value": "max"}],
        ).spec.objective
        assert told.strategy("latency") is StrategyValue.MAX


def test_a_goals_metric_counts_by_its_own_type() -> None:
    objective = several(constraints=[{"name": "accuracy", "min": 0}]).spec.objective
    assert objective.strategy("accuracy") is StrategyValue.MAX
    assert objective.strategy("latency") is StrategyValue.MIN


def test_a_history_with_several_objectives_is_read_back() -> None:
    experiment = several(constraints=[{"name": "latency", "max": 5}])
    kept = History(experiment, "0" * 8, 1, tuple(tried((1.0, 2.0, 3.0), (0.0, 9.0, math.nan))))
    text = dump_history(kept)
    again = load_history(text)
    assert dump_history(again) == text
    assert again.experiment == experiment
    assert again.trials[0] == kept.trials[0]


def test_the_study_has_a_direction_and_a_name_for_each_objective() -> None:
    study = study_of(History(several(), "r", 1, tuple(tried((1, 2, 3)))))
    assert [direction.name for direction in study.directions] == [
        "MINIMIZE",
        "MINIMIZE",
        "MAXIMIZE",
    ]
    assert study.metric_names == list(METRICS)
    assert study.trials[0].values == [1, 2, 3]
    assert isinstance(study, optuna.Study)


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (
            {"goals": [{"name": "size", "type": "minimize"}]},
            'spec.objective.goals[0].name: found "size"; allowed: latency, accuracy',
        ),
        (
            {"goals": [{"name": "loss", "type": "minimize"}]},
            'spec.objective.goals[0].name: found "loss", which is objectiveMetricName; '
            "allowed: latency, accuracy",
        ),
        (
            {
                "goals": [
                    {"name": "latency", "type": "minimize"},
                    {"name": "latency", "type": "maximize"},
                ]
            },
            'spec.objective.goals[1].name: found "latency" again; allowed: each metric once',
        ),
        (
            {"additionalMetricNames": [], "goals": [{"name": "latency", "type": "min"}]},
            'spec.objective.goals[0].name: found "latency"; allowed: a metric that '
            "additionalMetricNames has, which is empty",
        ),
        (
            {"goals": [{"name": "latency"}]},
            "spec.objective.goals[0].type: missing; allowed: minimize, maximize",
        ),
        (
            {"goals": [{"name": "latency", "type": "minimize", "goal": math.inf}]},
            "spec.objective.goals[0].goal: found inf; allowed: a finite number",
        ),
        (
            {"goals": [{"metric": "latency", "name": "latency", "type": "minimize"}]},
            "spec.objective.goals[0].metric: found an unknown key; allowed: name, type, goal",
        ),
        (
            {"constraints": [{"name": "size", "max": 1}]},
            'spec.objective.constraints[0].name: found "size"; allowed: loss, latency, accuracy',
        ),
        (
            {"constraints": [{"name": "latency"}]},
            "spec.objective.constraints[0]: found neither min nor max; "
            "allowed: one of them, or both",
        ),
        (
            {"constraints": [{"name": "latency", "min": 3, "max": 2}]},
            "spec.objective.constraints[0].max: found 2; allowed: at least min, 3",
        ),
        (
            {"constraints": [{"name": "latency", "max": 3}, {"name": "latency", "min": 2}]},
            'spec.objective.constraints[1].name: found "latency" again; allowed: each metric once',
        ),
        (
            {"constraints": [{"name": "latency", "max": "low"}]},
            'spec.objective.constraints[0].max: found "low"; allowed: a number',
        ),
    ],
)
def test_each_fault_is_named(objective: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidExperiment) as raised:
        several(**objective)
    assert str(raised.value) == f"f: {said}"


SETTINGS = {
    "pbt": {
        "suggestion_trial_dir": "/c",
        "n_population": "5",
        "truncation_threshold": "0.2",
    },
    "hyperband": {"r_l": "3", "resource_name": "lr"},
}


@pytest.mark.parametrize("algorithm", ["cmaes", "pbt", "hyperband"])
@pytest.mark.parametrize(
    ("objective", "what"),
    [
        ({}, "goals: found several objectives"),
        (
            {"goals": [], "constraints": [{"name": "latency", "max": 3}]},
            "constraints: found constraints",
        ),
    ],
)
def test_an_algorithm_that_cannot_is_refused(
    algorithm: str, objective: dict[str, Any], what: str
) -> None:
    settings = SETTINGS.get(algorithm, {})
    numeric = [
        {
            "name": name,
            "parameterType": "double",
            "feasibleSpace": {"min": "0", "max": "1"},
        }
        for name in ("lr", "momentum")
    ]
    asked = changed(
        {
            "spec.parameters": numeric,
            "spec.parallelTrialCount": 9,
            "spec.trialTemplate.trialParameters": [
                {"name": "lr", "reference": "lr"},
                {"name": "momentum", "reference": "momentum"},
            ],
            "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.args": [
                "${trialParameters.lr}${trialParameters.momentum}"
            ],
            "spec.algorithm": {
                "algorithmName": algorithm,
                "algorithmSettings": [{"name": n, "value": v} for n, v in settings.items()],
            },
        },
        document(**objective),
    )
    with pytest.raises(InvalidExperiment) as raised:
        check_document(asked, "f")
    assert str(raised.value) == (
        f"f: spec.objective.{what}, for algorithm {algorithm}; allowed: none; or one of "
        "auto, bayesianoptimization, grid, multivariate-tpe, random, sobol, tpe, optuna:<sampler>"
    )


@pytest.mark.parametrize("rule", ["medianstop", "optuna:MedianPruner"])
def test_early_stopping_is_refused_with_several_objectives(rule: str) -> None:
    with pytest.raises(InvalidExperiment) as raised:
        check_document(changed({"spec.earlyStopping": {"algorithmName": rule}}, document()), "f")
    assert str(raised.value) == (
        f'f: spec.earlyStopping.algorithmName: found "{rule}" with 3 objectives; allowed: '
        "no earlyStopping, since its rules compare one objective; or no goals"
    )


@pytest.mark.parametrize(
    ("then", "now", "path"),
    [
        ({}, {"goals": []}, "goals"),
        ({}, {"goals": [{"name": "latency", "type": "maximize"}]}, "goals"),
        ({}, {"constraints": [{"name": "latency", "max": 5}]}, "constraints"),
        ({}, {"metricStrategies": [{"name": "latency", "value": "latest"}]}, "metricStrategies"),
    ],
)
def test_trials_do_not_count_for_other_objectives(
    then: dict[str, Any], now: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidExperiment, match=rf"spec\.objective\.{path}: found"):
        check_resume("f", several(**now), several(**then))


def test_trials_count_when_only_a_goal_moves() -> None:
    moved = [
        {"name": "latency", "type": "minimize", "goal": 1},
        {"name": "accuracy", "type": "maximize"},
    ]
    check_resume("f", several(goals=moved), several())


def test_a_text_is_best_where_there_is_no_number() -> None:
    nothing = Observation(math.nan, math.nan, math.nan)
    one = Trial(0, TrialState.COMPLETE, {"lr": "1"}, {"loss": nothing})
    seen = {"loss": replace(nothing, text="Genotype(normal=[])")}
    told = Trial(1, TrialState.COMPLETE, {"lr": "2"}, seen)
    number = Trial(2, TrialState.COMPLETE, {"lr": "3"}, {"loss": Observation(3.0, 3.0, 3.0)})
    of = check_document(changed(), "f")
    assert best_trial(of.spec.objective, (one,)) is None
    assert best_trial(of.spec.objective, (one, told, replace(told, number=3))) == told
    assert best_trial(of.spec.objective, (told, number)) == number
    history = load_history(dump_history(History(of, "r", 1, (one, told))))
    assert best_data(history)["best"]["objective"] == "Genotype(normal=[])"
    assert best_of(of.spec.objective, history.trials).lines()[0] == (
        "best trial: 1, loss=Genotype(normal=[])"
    )
    assert not gave_nothing(of.spec.objective, history.trials)
    assert gave_nothing(of.spec.objective, (one,))
