"""The history as an Optuna study for people."""

from __future__ import annotations

import json
import math
import threading
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState as OptunaState

from katibflow.study.history import History, Observation, Point, Trial, TrialState
from katibflow.study.optuna_study import quiet_optuna, study_of
from tests.searching import MIXED, experiment, history, searched

LOSS = {"loss": Observation(0.4, 0.3, 0.5)}


def one(trial: Trial, parameters: Sequence[dict[str, Any]] = MIXED, **changes: Any) -> Any:
    """The Optuna trial of a history of one trial."""
    made = history(experiment("random", parameters, **changes)).with_trials([trial])
    return study_of(made).get_trials(deepcopy=False)[trial.number]


def trial(state: TrialState = TrialState.COMPLETE, **more: Any) -> Trial:
    assignments = {"lr": "0.01", "layers": "3", "dropout": "0.1", "batch": "32", "act": "relu"}
    return Trial(0, state, **{"assignments": assignments, "observations": LOSS, **more})


def test_a_history_without_trials_is_an_empty_study() -> None:
    study = study_of(history(experiment("tpe")))
    assert study.trials == []
    assert study.study_name == "sample"


@pytest.mark.parametrize(
    ("state", "value", "expected"),
    [
        (TrialState.COMPLETE, 0.3, OptunaState.COMPLETE),
        (TrialState.COMPLETE, math.nan, OptunaState.FAIL),
        (TrialState.COMPLETE, math.inf, OptunaState.FAIL),
        (TrialState.COMPLETE, None, OptunaState.FAIL),
        (TrialState.PRUNED, 0.3, OptunaState.PRUNED),
        (TrialState.FAIL, 0.3, OptunaState.FAIL),
        (TrialState.KILLED, None, OptunaState.FAIL),
        (TrialState.RUNNING, None, OptunaState.RUNNING),
    ],
    ids=str,
)
def test_states_become_optunas(
    state: TrialState, value: float | None, expected: OptunaState
) -> None:
    seen = {} if value is None else {"loss": Observation(value, value, value)}
    found = one(trial(state, observations=seen))
    assert found.state is expected
    assert found.value == (
        value if expected in (OptunaState.COMPLETE, OptunaState.PRUNED) else None
    )


@pytest.mark.parametrize(
    ("kind", "strategy", "value"),
    [("minimize", None, 0.3), ("maximize", None, 0.5), ("minimize", "latest", 0.4)],
)
def test_the_value_follows_the_strategy(kind: str, strategy: str | None, value: float) -> None:
    objective: dict[str, Any] = {"type": kind, "objectiveMetricName": "loss"}
    if strategy:
        objective["metricStrategies"] = [{"name": "loss", "value": strategy}]
    made = history(experiment("random", objective=objective)).with_trials([trial()])
    study = study_of(made)
    assert study.best_value == value
    assert study.direction.name == kind.upper()


def test_values_have_their_types_and_real_ranges() -> None:
    found = one(trial())
    assert found.params == {"lr": 0.01, "layers": 3, "dropout": 0.1, "batch": 32, "act": "relu"}
    assert found.distributions["lr"] == FloatDistribution(1e-4, 0.1)
    assert found.distributions["layers"] == IntDistribution(1, 9)
    assert found.distributions["batch"] == CategoricalDistribution((16, 32, 64))
    assert found.distributions["act"] == CategoricalDistribution(("relu", "tanh"))


def test_a_logarithmic_range_is_one_in_the_study() -> None:
    space = {"min": "1e-4", "max": "0.1", "distribution": "logUniform"}
    found = one(trial(), [{"name": "lr", "parameterType": "double", "feasibleSpace": space}])
    assert found.distributions["lr"].log


def test_ranges_are_widened_to_what_trials_had() -> None:
    odd = trial(
        assignments={"lr": "7", "layers": "40", "dropout": "0", "batch": "5", "act": "gelu"}
    )
    found = one(odd)
    assert found.params["lr"] == 7.0
    assert found.distributions["lr"].high == 7.0
    assert found.distributions["layers"].high == 40
    assert 5 in found.distributions["batch"].choices
    assert "gelu" in found.distributions["act"].choices


def test_a_value_that_is_no_number_is_left_out() -> None:
    found = one(trial(assignments={"lr": "fast", "layers": "3"}))
    assert found.params == {"layers": 3}


def test_a_number_left_out_stands_as_waiting() -> None:
    made = history(experiment("random")).with_trials(
        [Trial(2, TrialState.COMPLETE, {"lr": "0.01"}, LOSS)]
    )
    states = [trial.state for trial in study_of(made).trials]
    assert states == [OptunaState.WAITING, OptunaState.WAITING, OptunaState.COMPLETE]


def test_reports_are_intermediate_values_without_what_is_not_finite() -> None:
    points = tuple(Point(step, value) for step, value in enumerate([2.0, math.nan, 1.0]))
    assert one(trial(intermediate=points)).intermediate_values == {0: 2.0, 2: 1.0}


def test_job_reason_and_observations_are_user_attributes() -> None:
    found = one(trial(job="sample-0", reason="TrialSucceeded"))
    assert found.user_attrs["job"] == "sample-0"
    assert found.user_attrs["reason"] == "TrialSucceeded"
    assert found.user_attrs["observations"] == {"loss": {"latest": 0.4, "min": 0.3, "max": 0.5}}
    json.dumps(found.user_attrs)


def test_times_are_kept_to_the_second_that_passed() -> None:
    found = one(trial(start="2026-01-01T10:00:00+00:00", end="2026-01-01T10:01:30+00:00"))
    assert found.duration.total_seconds() == 90


@pytest.mark.parametrize("text", [None, "", "yesterday"])
def test_a_missing_start_becomes_the_end(text: str | None) -> None:
    found = one(trial(start=text, end="2026-01-01T10:01:30Z"))
    assert found.duration.total_seconds() == 0


def test_a_trial_that_is_queued_starts_when_it_was_made() -> None:
    made = Trial(0, TrialState.RUNNING, {"lr": "0.1"}, queued="2026-01-01T10:00:00.000+00:00")
    started = one(replace(made, start="2026-01-01T10:00:45.000+00:00"))
    assert (started.datetime_start - one(made).datetime_start).total_seconds() == 45


@pytest.mark.slow
def test_optunas_own_tools_work_on_the_study() -> None:
    made = searched(experiment("random"), 20)
    study = study_of(made)
    with quiet_optuna():
        importance = optuna.importance.get_param_importances(study)
    assert set(importance) == {parameter["name"] for parameter in MIXED}
    assert study.best_trial.number in range(20)


def test_nothing_done_to_the_study_comes_back() -> None:
    made: History = searched(experiment("random"), 3)
    study = study_of(made)
    study.tell(study.ask(), 1.0)
    assert len(study_of(made).trials) == 3


def test_quiet_optuna_is_quiet_and_then_as_before(caplog: pytest.LogCaptureFixture) -> None:
    before = optuna.logging.get_verbosity()
    with quiet_optuna():
        warnings.warn("hidden", FutureWarning, stacklevel=1)
        assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    assert optuna.logging.get_verbosity() == before
    with pytest.raises(ValueError, match="x"), quiet_optuna():
        raise ValueError("x")
    assert optuna.logging.get_verbosity() == before


def test_quiet_optuna_lasts_as_long_as_any_thread_wants_it() -> None:
    before = optuna.logging.get_verbosity()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with quiet_optuna():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with quiet_optuna():
        thread.start()
        assert inside.wait(10)
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    warnings.warn("hidden", FutureWarning, stacklevel=1)
    leave.set()
    thread.join()
    assert optuna.logging.get_verbosity() == before
    with pytest.warns(FutureWarning):
        warnings.warn("seen", FutureWarning, stacklevel=1)
