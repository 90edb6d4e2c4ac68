"""Tests early stopping: the reports of a running trial that end it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from katibflow.early_stopping import faults, rule_for
from katibflow.experiment.parsing import parse
from katibflow.experiment.types import ExperimentSpec
from katibflow.study.history import Point, Trial, TrialState
from katibflow.suggestion.suggester import Suggestion
from tests.samples import changed
from tests.searching import ended, experiment


def spec(
    name: str, settings: dict[str, str] | None = None, kind: str = "minimize"
) -> ExperimentSpec:
    pairs = [{"name": key, "value": value} for key, value in (settings or {}).items()]
    return experiment(
        "random",
        earlyStopping={"algorithmName": name, "algorithmSettings": pairs},
        objective={"type": kind, "objectiveMetricName": "loss"},
    ).spec


def trials(
    *series: Sequence[float], state: TrialState = TrialState.COMPLETE, first: int = 0
) -> list[Trial]:
    return [
        ended(number, Suggestion({}), reports[-1], state, reports)
        for number, reports in enumerate(series, start=first)
    ]


def stops(of: ExperimentSpec, others: Sequence[Trial], reports: Sequence[float]) -> int | None:
    """Returns the number of reports after which the trial is stopped, or None."""
    rule = rule_for(of, others)
    for step, value in enumerate(reports):
        if rule is not None and rule(Point(step, value)):
            return step + 1
    return None


def fault_texts(name: str, **settings: str) -> list[str]:
    pairs = [{"name": key, "value": value} for key, value in settings.items()]
    document = changed({"spec.earlyStopping": {"algorithmName": name, "algorithmSettings": pairs}})
    return [str(fault) for fault in faults(parse(document)[1])]


FOUR = trials([4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3], [9, 9, 9, 9])
"""Averages over the first four reports: 2.5, 3.5, 4.5, 9; their median is 4."""


# ------------------------------------------------------------------------------ medianstop


def test_without_early_stopping_nothing_is_stopped() -> None:
    assert rule_for(experiment("random").spec, FOUR) is None


def test_medianstop_waits_for_three_finished_trials() -> None:
    assert rule_for(spec("medianstop"), FOUR[:2]) is None
    assert rule_for(spec("medianstop"), FOUR[:3]) is not None


def test_medianstop_stops_from_the_fourth_report_on() -> None:
    assert stops(spec("medianstop"), FOUR, [9, 9, 9, 9, 9]) == 4


def test_medianstop_compares_every_later_report_with_the_best_so_far() -> None:
    assert stops(spec("medianstop"), FOUR, [9, 9, 3.9, 9, 9, 9]) is None
    assert stops(spec("medianstop"), FOUR, [4.1] * 3) is None


def test_medianstop_lets_a_trial_at_the_median_go_on() -> None:
    assert stops(spec("medianstop"), FOUR, [4.0] * 6) is None
    assert stops(spec("medianstop"), FOUR, [4.01] * 6) == 4


def test_medianstop_says_the_numbers() -> None:
    rule = rule_for(spec("medianstop"), FOUR)
    assert rule is not None
    assert [rule(Point(step, 9.0)) for step in range(4)] == [
        None,
        None,
        None,
        "after 4 reports the best loss is 9, the median of 4 earlier trials "
        "over their first 4 is 4",
    ]


def test_medianstop_takes_its_settings() -> None:
    settings = {"min_trials_required": "1", "start_step": "2"}
    assert stops(spec("medianstop", settings), FOUR[:1], [9, 9, 9]) == 2
    assert stops(spec("medianstop", settings), [], [9, 9, 9]) is None


def test_medianstop_maximizes_too() -> None:
    assert stops(spec("medianstop", kind="maximize"), FOUR, [1, 1, 1, 1]) == 4
    assert stops(spec("medianstop", kind="maximize"), FOUR, [1, 5, 1, 1]) is None


@pytest.mark.parametrize("state", [TrialState.FAIL, TrialState.KILLED, TrialState.RUNNING,
                                   TrialState.PRUNED])  # fmt: skip
def test_medianstop_learns_from_complete_trials_only(state: TrialState) -> None:
    others = trials([4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3], state=state)
    assert rule_for(spec("medianstop"), others) is None


def test_medianstop_leaves_out_series_that_are_not_finite() -> None:
    others = [*FOUR[:2], *trials([1, math.nan, 1, 1], first=2)]
    assert rule_for(spec("medianstop"), others) is None


def test_a_trial_that_reports_only_nan_is_stopped() -> None:
    assert stops(spec("medianstop"), FOUR, [math.nan] * 5) == 4


def test_short_series_count_with_what_they_have() -> None:
    others = trials([1], [2], [3])
    assert stops(spec("medianstop"), others, [2.5] * 5) == 4
    assert stops(spec("medianstop"), others, [1.5] * 5) is None


# ------------------------------------------------------------------------- Optuna's pruners


@pytest.mark.parametrize(
    ("name", "settings", "reports", "count"),
    [
        ("MedianPruner", {"n_startup_trials": "3"}, [9, 9, 9, 9], 1),
        ("MedianPruner", {"n_startup_trials": "3", "n_warmup_steps": "2"}, [9, 9, 9, 9], 3),
        ("MedianPruner", {"n_startup_trials": "3"}, [1, 1, 1, 1], None),
        ("MedianPruner", {"n_startup_trials": "9"}, [9, 9, 9, 9], None),
        ("PercentilePruner", {"percentile": "25.0", "n_startup_trials": "1"}, [4.6] * 4, 2),
        ("ThresholdPruner", {"upper": "5"}, [1, 4, 6, 1], 3),
        ("ThresholdPruner", {"lower": "0"}, [1, math.nan], 2),
        ("PatientPruner", {"patience": "1"}, [5, 4, 5, 5, 5], 4),
        ("NopPruner", {}, [9, 9, 9, 9], None),
        ("SuccessiveHalvingPruner", {"min_resource": "2", "reduction_factor": "2"}, [9] * 4, 3),
        ("SuccessiveHalvingPruner", {"min_resource": "2", "reduction_factor": "2"}, [1] * 4, None),
        ("WilcoxonPruner", {"p_threshold": "0.2"}, [9, 9.1, 9.2, 9.3], 3),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_pruner_of_optuna_decides_from_the_reports(
    name: str, settings: dict[str, str], reports: list[float], count: int | None
) -> None:
    assert stops(spec(f"optuna:{name}", settings), FOUR, reports) == count


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SuccessiveHalvingPruner", {"min_resource": 1, "reduction_factor": 2}),
        ("HyperbandPruner", {"min_resource": 1, "max_resource": 8, "reduction_factor": 2}),
        ("MedianPruner", {"n_startup_trials": 2}),
        ("PercentilePruner", {"percentile": 30.0}),
    ],
    ids=lambda value: str(value)[:30],
)
@pytest.mark.parametrize("kind", ["minimize", "maximize"])
def test_a_pruner_decides_as_in_optuna_itself(
    name: str, settings: dict[str, int], kind: str
) -> None:
    """Gives the same series to Optuna's own study, one trial after the other."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name="trials",
        pruner=getattr(optuna.pruners, name)(**settings),
        sampler=optuna.samplers.RandomSampler(seed=1),
        direction=kind,
    )
    of = spec(f"optuna:{name}", {key: str(value) for key, value in settings.items()}, kind)
    others: list[Trial] = []
    stopped = 0
    for number in range(30):
        reports = [(7 * number + 3 * step) % 11 + 10 / (step + 1) for step in range(9)]
        trial = study.ask()
        here = stops(of, others, reports)
        there = None
        for step, value in enumerate(reports):
            trial.report(value, step)
            if trial.should_prune():
                there = step + 1
                break
        assert here == there
        stopped += there is not None
        state = TrialState.PRUNED if there else TrialState.COMPLETE
        seen = reports[:there]
        if there is None:
            study.tell(trial, seen[-1])
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        others += trials(seen, state=state, first=number)
    assert 0 < stopped < 30


def test_a_pruner_is_for_a_trial_whose_number_the_others_leave_free() -> None:
    others = [FOUR[0], *FOUR[2:], *trials([5, 5, 5], state=TrialState.RUNNING, first=4)]
    settings = {"min_resource": "1", "reduction_factor": "2"}
    assert stops(spec("optuna:SuccessiveHalvingPruner", settings), others, [9] * 6) == 2


@pytest.mark.parametrize("name", ["SuccessiveHalvingPruner", "MedianPruner"])
def test_a_pruner_sees_what_other_trials_report_meanwhile(name: str) -> None:
    others: list[Trial] = []
    settings = (
        {"min_resource": "1", "reduction_factor": "2"}
        if name[0] == "S"
        else {"n_startup_trials": "1"}
    )
    rule = rule_for(spec(f"optuna:{name}", settings), others)
    assert rule is not None
    assert rule(Point(0, 5.0)) is None
    others += trials([4, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1], first=1)
    assert rule(Point(1, 5.0)) is not None


def test_a_pruner_compares_with_trials_that_still_run() -> None:
    others = trials([9], [9], [9], state=TrialState.RUNNING)
    settings = {"min_resource": "2", "reduction_factor": "2"}
    rule = rule_for(spec("optuna:SuccessiveHalvingPruner", settings), others)
    assert rule is not None
    assert rule(Point(0, 5.0)) is None
    others[:] = trials([4, 3, 2], [5, 4, 3], [6, 5, 4], state=TrialState.RUNNING)
    assert rule(Point(1, 5.0)) is None
    assert rule(Point(2, 5.0)) is not None


def test_the_others_may_come_from_a_generator() -> None:
    of = spec("optuna:MedianPruner", {"n_startup_trials": "1"})
    rule = rule_for(of, (trial for trial in FOUR))
    assert rule is not None
    assert rule(Point(0, 9.0)) is not None


def test_maximizing_prunes_the_small_ones() -> None:
    of = spec("optuna:MedianPruner", {"n_startup_trials": "3"}, kind="maximize")
    assert stops(of, FOUR, [1, 1]) == 1
    assert stops(of, FOUR, [9, 9]) is None


# ---------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        (
            "medianstop",
            {"start_step": "0"},
            'value: found "0"; allowed: a whole number of at least 1',
        ),
        ("medianstop", {"start_step": "x"}, 'found "x"'),
        ("medianstop", {"steps": "1"}, "allowed: min_trials_required, start_step"),
        ("median", {}, 'algorithmName: found "median"; allowed: medianstop, optuna:<pruner>'),
        ("optuna:Median", {}, "optuna:MedianPruner"),
        ("optuna:MedianPruner", {"n_warmup_steps": "-1"}, "Number of warmup steps"),
        ("optuna:MedianPruner", {"n_min_trials": "many"}, "allowed: a whole number"),
        ("optuna:PercentilePruner", {}, "allowed: a setting percentile: a number"),
        ("optuna:NopPruner", {"x": "1"}, "allowed: no setting"),
        ("optuna:ThresholdPruner", {}, "lower"),
        ("optuna:SuccessiveHalvingPruner", {"min_resource": "some"}, "min_resource"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_setting_is_a_fault(name: str, settings: dict[str, Any], words: str) -> None:
    found = fault_texts(name, **settings)
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("medianstop", {"start_step": "5", "min_trials_required": "2"}),
        ("optuna:HyperbandPruner", {"max_resource": "auto"}),
        ("optuna:PatientPruner", {"patience": "3", "min_delta": "0.01"}),
        ("optuna:NopPruner", {}),
    ],
)
def test_what_is_right_has_no_fault(name: str, settings: dict[str, str]) -> None:
    assert fault_texts(name, **settings) == []
