"""Algorithms that wait, and pruners that stop, with real trials on this machine."""

from __future__ import annotations

from pathlib import Path

from katibflow.engine.events import MetricReported, TrialEnded, Update, Watcher
from katibflow.engine.loop import Result, run_experiment
from katibflow.experiment.timeouts import Limits
from katibflow.experiment.types import Experiment
from katibflow.runners.local.runner import LocalRunner
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import History, TrialState
from katibflow.study.reasons import ExperimentReason as Why
from tests.shell_trials import experiment

HYPERBAND = {
    "algorithmName": "hyperband",
    "algorithmSettings": [
        {"name": "resource_name", "value": "x"},
        {"name": "r_l", "value": "4"},
        {"name": "eta", "value": "2"},
    ],
}


def run(
    of: Experiment,
    folder: Path,
    watch: Watcher = lambda update: None,
    limits: Limits | None = None,
) -> Result:
    runner = LocalRunner(folder)
    try:
        start = History(of, "0a1b2c3d", 5, tuple(runner.records()))
        return run_experiment(start, runner, watch=watch, stop=StopRequest(), limits=limits)
    finally:
        runner.close()


def test_hyperband_runs_all_its_brackets_and_says_so(tmp_path: Path) -> None:
    of = experiment(
        "echo loss=$X",
        {"spec.algorithm": HYPERBAND, "spec.parallelTrialCount": 4, "spec.maxTrialCount": None},
    )
    result = run(of, tmp_path)
    assert result.decision.reason == Why.SUGGESTION_END_REACHED
    assert result.decision.message == "all brackets of hyperband are done"
    assert [trial.assignments["x"] for trial in result.history.trials] == (
        ["1"] * 4 + ["2"] * 2 + ["4"] + ["2"] * 3 + ["4"] * 2 + ["4"] * 3
    )


def test_hyperband_goes_on_where_an_earlier_run_ended(tmp_path: Path) -> None:
    changes = {"spec.algorithm": HYPERBAND, "spec.parallelTrialCount": 4}
    first = run(experiment("echo loss=$X", {**changes, "spec.maxTrialCount": 5}), tmp_path)
    assert first.decision.reason == Why.MAX_TRIALS_REACHED
    result = run(experiment("echo loss=$X", {**changes, "spec.maxTrialCount": 8}), tmp_path)
    assert [trial.assignments["x"] for trial in result.history.trials] == (
        ["1"] * 4 + ["2"] * 2 + ["4"] + ["2"]
    )


def test_a_pruner_of_optuna_ends_a_running_trial(tmp_path: Path) -> None:
    stopping = {
        "algorithmName": "optuna:ThresholdPruner",
        "algorithmSettings": [{"name": "upper", "value": "1000"}],
    }
    of = experiment(
        "echo loss=5; echo loss=2000; exec sleep 60",
        {"spec.earlyStopping": stopping, "spec.parallelTrialCount": 1, "spec.maxTrialCount": 1},
    )
    [trial] = run(of, tmp_path).history.trials
    assert trial.state is TrialState.PRUNED
    assert trial.message == "ThresholdPruner stops it after 2 reports, the last loss is 2000"


def test_a_pruner_compares_with_trials_that_run_at_the_same_time(tmp_path: Path) -> None:
    """The better trial ends when the worse one has been stopped."""
    script = f"""
    if [ $X = 0 ]; then
        for i in 1 2 3 4 5 6 7 8; do echo loss=0; done
        until [ -e {tmp_path}/go ]; do sleep 0.05; done
    else
        until [ -e {tmp_path}/reported ]; do sleep 0.05; done
        while true; do echo loss=9; sleep 0.02; done
    fi"""
    space = {"name": "x", "parameterType": "discrete", "feasibleSpace": {"list": ["0", "1"]}}
    settings = [{"name": "min_resource", "value": "2"}, {"name": "reduction_factor", "value": "2"}]
    of = experiment(
        script,
        {
            "spec.parameters": [space],
            "spec.algorithm": {"algorithmName": "grid"},
            "spec.earlyStopping": {
                "algorithmName": "optuna:SuccessiveHalvingPruner",
                "algorithmSettings": settings,
            },
            "spec.parallelTrialCount": 2,
            "spec.maxTrialCount": 2,
        },
    )

    reports: list[MetricReported] = []

    def watch(update: Update) -> None:
        if isinstance(update, MetricReported):
            reports.append(update)
            if len(reports) == 8:
                (tmp_path / "reported").touch()
        if isinstance(update, TrialEnded):
            (tmp_path / "go").touch()

    result = run(of, tmp_path / "run", watch, limits=Limits(trial=30))
    ended = {trial.assignments["x"]: trial.state for trial in result.history.trials}
    assert ended == {"0": TrialState.COMPLETE, "1": TrialState.PRUNED}
