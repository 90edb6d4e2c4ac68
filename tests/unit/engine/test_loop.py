"""Tests the loop that runs trials side by side."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from katibflow.engine.events import (
    Decided,
    Interrupted,
    MetricReported,
    TrialEnded,
    TrialNotice,
    TrialStarted,
    Update,
)
from katibflow.engine.loop import Result, run_experiment
from katibflow.errors import RunnerError
from katibflow.experiment.timeouts import Limits
from katibflow.experiment.types import Experiment
from katibflow.runners.base import JobOutcome, TrialJob
from katibflow.runners.events import Observer
from katibflow.runners.local.runner import LocalRunner
from katibflow.runners.local.trial_folder import RECORD_VERSION
from katibflow.runners.stopping import StopReason, StopRequest
from katibflow.study.history import History, Trial, TrialState, trial_to_data
from katibflow.study.objectives import best_trial
from katibflow.study.reasons import ExperimentReason as Why
from tests.shell_trials import experiment, processes_below, waits_for

RUN = "0a1b2c3d"


def run(
    of: Experiment,
    folder: Path,
    *,
    runner: LocalRunner | None = None,
    watch: Callable[[Update], None] = lambda update: None,
    stop: StopRequest | None = None,
    limits: Limits | None = None,
    drain: bool = False,
) -> Result:
    runner = runner or LocalRunner(folder)
    history = History(of, RUN, 5, tuple(runner.records()))
    try:
        return run_experiment(
            history,
            runner,
            watch=watch,
            stop=stop or StopRequest(),
            limits=limits,
            drain=drain,
        )
    finally:
        runner.close()


def states(result: Result) -> list[TrialState]:
    return [trial.state for trial in result.history.trials]


def overlaps(trials: Sequence[Trial]) -> int:
    """Returns the most trials that ran at one time."""
    moments = [
        (datetime.fromisoformat(text), step)
        for trial in trials
        for text, step in ((trial.start or "", 1), (trial.end or "", -1))
    ]
    running = most = 0
    for _, step in sorted(moments):
        running += step
        most = max(most, running)
    return most


def test_all_trials_run_a_few_at_a_time(tmp_path: Path) -> None:
    updates: list[Update] = []
    of = experiment("sleep 0.05; echo loss=$X")
    result = run(of, tmp_path, watch=updates.append)
    assert states(result) == [TrialState.COMPLETE] * 6
    assert [trial.number for trial in result.history.trials] == list(range(6))
    assert (result.decision.reason, result.interrupted) == (
        Why.MAX_TRIALS_REACHED,
        None,
    )
    assert overlaps(result.history.trials) == 3
    assert all(
        trial.observations["loss"].latest == float(trial.assignments["x"])
        for trial in result.history.trials
    )
    for kind, count in ((TrialStarted, 6), (MetricReported, 6), (TrialEnded, 6), (Decided, 1)):
        assert sum(isinstance(update, kind) for update in updates) == count
    assert isinstance(updates[-1], Decided)
    assert LocalRunner(tmp_path).records() == result.history.trials


def test_a_new_trial_starts_as_soon_as_one_ends(tmp_path: Path) -> None:
    # The first trial ends when the last one has started, which a barrier would never let happen.
    flag = tmp_path / "last-started"
    script = f"""
    case "$KATIB_TRIAL_NAME" in
      *-0) while [ ! -e {flag} ]; do sleep 0.02; done;;
      *-5) touch {flag};;
    esac
    echo loss=1"""
    result = run(experiment(script), tmp_path / "run", limits=Limits(trial=30))
    assert states(result) == [TrialState.COMPLETE] * 6


def test_the_goal_stops_running_trials_and_they_do_not_count(tmp_path: Path) -> None:
    script = 'case "$KATIB_TRIAL_NAME" in *-1) echo loss=0.5;; *) sleep 600;; esac'
    result = run(experiment(script, {"spec.objective.goal": 0.5}), tmp_path)
    assert result.decision.reason == Why.GOAL_REACHED
    assert states(result) == [TrialState.KILLED, TrialState.COMPLETE, TrialState.KILLED]
    assert result.decision.message in result.history.trials[0].message
    assert processes_below(tmp_path) == []


def test_draining_lets_running_trials_finish(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    script = f"""
    case "$KATIB_TRIAL_NAME" in
      *-0) echo loss=0.5; touch {ended};;
      *) while [ ! -e {ended} ]; do sleep 0.02; done; sleep 0.2; echo loss=0.1;;
    esac"""
    of = experiment(script, {"spec.objective.goal": 0.5})
    result = run(of, tmp_path / "run", drain=True, limits=Limits(trial=30))
    assert result.decision.reason == Why.GOAL_REACHED
    assert states(result) == [TrialState.COMPLETE] * 3
    best = best_trial(of.spec.objective, result.history.trials)
    assert best is not None
    assert best.number == 1


@pytest.mark.parametrize("most", [0, 1])
def test_the_first_failure_ends_the_experiment_when_none_are_allowed(
    tmp_path: Path, most: int
) -> None:
    of = experiment(
        "echo it broke; exit 3", {"spec.maxFailedTrialCount": most, "spec.parallelTrialCount": 1}
    )
    result = run(of, tmp_path)
    assert (result.decision.reason, result.decision.succeeded) == (Why.FAILED, False)
    assert states(result) == [TrialState.FAIL]
    assert "it broke" in result.history.trials[0].message


def test_failed_trials_use_up_the_budget(tmp_path: Path) -> None:
    result = run(experiment("exit 1"), tmp_path)
    assert states(result) == [TrialState.FAIL] * 6
    assert (result.decision.reason, result.decision.succeeded) == (
        Why.MAX_TRIALS_REACHED,
        True,
    )


def test_a_trial_without_the_metric_fails_with_what_was_searched(tmp_path: Path) -> None:
    result = run(
        experiment("echo loss: 0.3", {"spec.maxTrialCount": 1, "spec.parallelTrialCount": 1}),
        tmp_path,
    )
    (trial,) = result.history.trials
    assert (trial.state, trial.reason) == (TrialState.FAIL, "MetricsUnavailable")
    assert "loss: 0.3" in trial.message


def test_values_that_are_not_finite_are_never_best(tmp_path: Path) -> None:
    script = """
    case "$KATIB_TRIAL_NAME" in *-0) echo loss=nan;; *-1) echo loss=-inf;; *) echo loss=7;; esac"""
    of = experiment(script, {"spec.maxTrialCount": 3, "spec.objective.goal": -1000})
    result = run(of, tmp_path)
    assert states(result) == [TrialState.COMPLETE] * 3
    assert result.decision.reason == Why.MAX_TRIALS_REACHED
    best = best_trial(of.spec.objective, result.history.trials)
    assert best is not None
    assert best.number == 2
    assert math.isnan(result.history.trials[0].observations["loss"].latest)


def test_a_used_up_space_ends_the_experiment(tmp_path: Path) -> None:
    space = {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "4"}}
    result = run(experiment("echo loss=$X", {"spec.parameters": [space]}), tmp_path)
    assert (result.decision.reason, result.decision.succeeded) == (
        Why.SUGGESTION_END_REACHED,
        True,
    )
    assert sorted(trial.assignments["x"] for trial in result.history.trials) == list("1234")


def test_without_a_limit_only_the_goal_ends(tmp_path: Path) -> None:
    script = 'case "$KATIB_TRIAL_NAME" in *-9) echo loss=0;; *) echo loss=1;; esac'
    of = experiment(
        script,
        {"spec.maxTrialCount": None, "spec.objective.goal": 0, "spec.parallelTrialCount": 1},
    )
    result = run(of, tmp_path)
    assert len(result.history.trials) == 10
    assert result.decision.reason == Why.GOAL_REACHED


def test_median_stop_prunes_a_trial_that_is_behind(tmp_path: Path) -> None:
    script = """
    case "$KATIB_TRIAL_NAME" in
      *-3) echo loss=9; echo loss=8; sleep 600;;
      *) echo loss=2; echo loss=1;;
    esac"""
    stopping = {
        "algorithmName": "medianstop",
        "algorithmSettings": [{"name": "start_step", "value": "2"}],
    }
    of = experiment(
        script,
        {
            "spec.earlyStopping": stopping,
            "spec.maxTrialCount": 4,
            "spec.parallelTrialCount": 1,
        },
    )
    result = run(of, tmp_path, limits=Limits(trial=60))
    assert states(result) == [TrialState.COMPLETE] * 3 + [TrialState.PRUNED]
    pruned = result.history.trials[3]
    assert (pruned.reason, pruned.observations["loss"].min) == ("TrialEarlyStopped", 8)
    assert "median of 3 earlier trials" in pruned.message


def test_an_interrupted_run_goes_on_under_the_same_numbers(tmp_path: Path) -> None:
    go, ran = tmp_path / "go", tmp_path / "ran"
    script = f"""
    case "$KATIB_TRIAL_NAME" in
      *-1) ;;
      *) while [ ! -e {go} ]; do sleep 0.02; done;;
    esac
    echo "$KATIB_TRIAL_NAME $X" >> {ran}; echo loss=$X"""
    of = experiment(script)
    stop = StopRequest()

    def watch(update: Update) -> None:
        if isinstance(update, TrialEnded):
            stop.set("enough")

    first = run(of, tmp_path / "run", watch=watch, stop=stop)
    assert (first.interrupted, first.decision.finished) == (StopReason("enough"), False)
    assert states(first)[:3] == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.RUNNING]
    assert processes_below(tmp_path) == []
    go.touch()
    resumed: list[int] = []

    def note(update: Update) -> None:
        if isinstance(update, TrialStarted) and update.resumed:
            resumed.append(update.trial.number)
            # They were stopped, so these are other jobs.
            assert update.anew

    second = run(of, tmp_path / "run", watch=note)
    assert sorted(resumed)[:2] == [0, 2]
    assert states(second) == [TrialState.COMPLETE] * 6
    lines = ran.read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == [f"sample-{RUN}-{n}" for n in range(6)]
    for before, after in zip(first.history.trials, second.history.trials, strict=False):
        assert before.assignments == after.assignments


def test_a_stop_from_outside_is_told_with_the_number_of_trials_that_it_stops(
    tmp_path: Path,
) -> None:
    stop = StopRequest()
    told: list[Update] = []

    def watch(update: Update) -> None:
        told.append(update)
        if sum(isinstance(each, TrialStarted) for each in told) == 3:
            stop.set("enough")

    run(experiment("sleep 600"), tmp_path, watch=watch, stop=stop)
    (interrupted,) = (each for each in told if isinstance(each, Interrupted))
    assert interrupted == Interrupted("enough", 3)


def test_a_trial_without_output_is_told_and_what_bounds_it(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f"{waits_for(told)}; echo loss=1; {waits_for(tmp_path / 'again')}"
    notices: list[str] = []

    def watch(update: Update) -> None:
        if isinstance(update, TrialNotice):
            notices.append(update.text)
            (told if len(notices) == 1 else tmp_path / "again").touch()

    one = {"spec.maxTrialCount": 1, "spec.parallelTrialCount": 1}
    runner = LocalRunner(tmp_path / "run")
    result = run_experiment(
        History(experiment(script, one), RUN, 5),
        runner,
        watch=watch,
        stop=StopRequest(),
        silence=0.5,
    )
    runner.close()
    assert states(result) == [TrialState.COMPLETE]
    assert "and nothing bounds it: --trial-timeout SECONDS" in notices[0]
    assert notices[1] == "prints again"


def test_a_run_that_is_over_stays_over(tmp_path: Path) -> None:
    of = experiment("echo loss=$X")
    first = run(of, tmp_path)
    updates: list[Update] = []
    second = run(of, tmp_path, watch=updates.append)
    assert second == first
    assert [type(update) for update in updates] == [Decided]


def test_trials_left_running_when_the_goal_was_met_are_killed_at_the_next_start(
    tmp_path: Path,
) -> None:
    of = experiment("echo loss=0", {"spec.objective.goal": 0, "spec.maxTrialCount": 3})
    runner = LocalRunner(tmp_path)
    first = run(of, tmp_path)
    # As a kill between the goal and the end of the other trials leaves the records.
    left = replace(
        first.history.trials[0], number=7, state=TrialState.RUNNING, observations={}, end=None
    )
    runner.record(left)
    second = run(of, tmp_path)
    assert second.decision.reason == Why.GOAL_REACHED
    assert second.history.trials[-1].state is TrialState.KILLED
    assert LocalRunner(tmp_path).records()[-1].state is TrialState.KILLED


class Rejecting(LocalRunner):
    """A runner that cannot run one of the trials."""

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        if job.trial.number == 1:
            raise RunnerError("no such kind of job here")
        return super().run(job, observe, stop)


def test_a_runner_that_cannot_run_trials_ends_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="no such kind of job here"):
        run(experiment("sleep 600"), tmp_path, runner=Rejecting(tmp_path))
    assert processes_below(tmp_path) == []
    assert [each for each in threading.enumerate() if each.name.startswith("trial-")] == []
    assert {trial.state for trial in LocalRunner(tmp_path).records()} <= {TrialState.RUNNING}


def test_a_watcher_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def watch(update: Update) -> None:
        if isinstance(update, TrialStarted) and update.trial.number == 2:
            raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone"):
        run(experiment("sleep 600"), tmp_path, watch=watch)
    assert processes_below(tmp_path) == []


def test_suggestions_depend_on_the_seed_alone(tmp_path: Path) -> None:
    of = experiment("echo loss=$X", {"spec.parallelTrialCount": 1})
    results: list[Any] = [run(of, tmp_path / name).history.trials for name in ("a", "b")]
    first, second = ([trial.assignments for trial in trials] for trials in results)
    assert first == second


def test_a_trial_is_on_record_before_it_is_told(tmp_path: Path) -> None:
    def watch(update: Update) -> None:
        if isinstance(update, TrialEnded):
            path = tmp_path / "trials" / f"{update.trial.number:04}" / "record.json"
            told = json.loads(json.dumps(trial_to_data(update.trial)))
            assert json.loads(path.read_text()) == {"version": RECORD_VERSION, **told}

    run(experiment("echo loss=$X"), tmp_path, watch=watch)
