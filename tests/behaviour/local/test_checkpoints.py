"""Tests population based training with real processes that write and read checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from katibflow.engine.loop import run_experiment
from katibflow.runners.base import JobState, TrialJob
from katibflow.runners.local.runner import LocalRunner, PathMap, check_local
from katibflow.runners.stopping import StopRequest
from katibflow.study.checkpoints import Checkpoint
from katibflow.study.history import History, TrialState
from tests.behaviour.runner_contract import Watch
from tests.doubles.local_lab import LocalLab, batch_job, pytorch_job, run
from tests.shell_trials import experiment

TRAINING = """
read -r step last < "$DIR/state" || { step=0; last=none; }
echo "found $step of $last"
echo "$((step + 1)) $KATIB_TRIAL_NAME" > /ckpt/state
echo "loss=$X"
"""
"""Finds its folder by an environment variable, and by the path in its command."""


def pbt(trials: int) -> dict[str, object]:
    settings = {"suggestion_trial_dir": "/ckpt/", "n_population": 5, "truncation_threshold": 0.4}
    return {
        "spec.algorithm.algorithmName": "pbt",
        "spec.algorithm.algorithmSettings": [
            {"name": name, "value": str(value)} for name, value in settings.items()
        ],
        "spec.maxTrialCount": trials,
        "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.env.1": {
            "name": "DIR",
            "value": "/ckpt",
        },
    }


def test_each_trial_goes_on_from_its_parents_checkpoint(tmp_path: Path) -> None:
    made = experiment(TRAINING, pbt(15))
    runner = LocalRunner(tmp_path)
    history = History(made, "0a1b2c3d", seed=3)
    result = run_experiment(history, runner, watch=lambda update: None, stop=StopRequest())
    runner.close()
    trials = {trial.number: trial for trial in result.history.trials}
    assert len(trials) == 15
    generations = set()
    for trial in trials.values():
        assert trial.state is TrialState.COMPLETE, trial.message
        generation, parent = trial.attributes["pbt:generation"], trial.attributes.get("pbt:parent")
        last = "none" if parent is None else trials[parent].job
        log = (tmp_path / f"trials/{trial.number:04d}/job-0.log").read_text()
        assert f"found {generation} of {last}\n" in log
        generations.add(generation)
    assert generations == {0, 1, 2}


def given(job: TrialJob, parent: int | None = None) -> TrialJob:
    return replace(job, checkpoint=Checkpoint("/ckpt", 0, parent))


def checkpoints(lab: LocalLab, number: int) -> Path:
    return lab.folder / f"trials/{number:04d}/checkpoints"


def test_all_replicas_see_the_same_folder(tmp_path: Path) -> None:
    lab = LocalLab(tmp_path)
    job = pytorch_job(0, ["sh", "-c", "echo 1 > /ckpt/$RANK"], ["sh", "-c", "echo 1 > /ckpt/$RANK"])
    outcome, _ = run(lab, given(job))
    assert outcome.state is JobState.SUCCEEDED
    assert {path.name for path in checkpoints(lab, 0).iterdir()} == {"0", "1"}


def test_a_trial_that_is_created_anew_gets_its_folder_afresh(tmp_path: Path) -> None:
    lab = LocalLab(tmp_path)
    run(lab, given(batch_job(0, ["sh", "-c", "echo parent > /ckpt/a"])))
    spoils = "ls /ckpt; echo spoilt > /ckpt/a; touch /ckpt/more; exec sleep 60"
    stop = StopRequest()

    def stop_when_it_listed(event: object) -> None:
        if event and getattr(event, "text", "") == "a":
            stop.set("enough")

    outcome = lab.runner().run(
        given(batch_job(1, ["sh", "-c", spoils]), 0), stop_when_it_listed, stop
    )
    assert outcome.state is JobState.STOPPED
    outcome, watch = run(lab, given(batch_job(1, ["sh", "-c", "ls /ckpt; cat /ckpt/a"]), 0))
    assert (outcome.state, watch.lines) == (JobState.SUCCEEDED, ["a", "parent"])


def test_an_adopted_trial_keeps_its_folder(tmp_path: Path) -> None:
    lab = LocalLab(tmp_path)
    job = given(batch_job(0, ["sh", "-c", "echo mine > /ckpt/a"]))
    run(lab, job)
    outcome, _ = run(lab, job)
    assert outcome.state is JobState.SUCCEEDED
    assert (checkpoints(lab, 0) / "a").read_text() == "mine\n"


def test_the_parents_folder_stays_as_it_was(tmp_path: Path) -> None:
    lab = LocalLab(tmp_path)
    run(lab, given(batch_job(0, ["sh", "-c", "echo parent > /ckpt/a"])))
    run(lab, given(batch_job(1, ["sh", "-c", "echo child > /ckpt/a"]), 0))
    assert (checkpoints(lab, 0) / "a").read_text() == "parent\n"
    assert (checkpoints(lab, 1) / "a").read_text() == "child\n"


def test_a_lost_parent_is_a_failed_trial_that_says_so(tmp_path: Path) -> None:
    lab = LocalLab(tmp_path)
    outcome = lab.runner().run(given(batch_job(1, ["true"]), 0), Watch(), StopRequest())
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "CheckpointLost")
    assert outcome.message == (
        f"there is no folder {checkpoints(lab, 0)} with the checkpoints of trial 0, which this "
        "one goes on from"
    )


@pytest.mark.parametrize("path", ["/ckpt", "/ckpt/"])
def test_a_map_of_the_users_does_not_replace_it(tmp_path: Path, path: str) -> None:
    lab = LocalLab(tmp_path)
    job = batch_job(0, ["sh", "-c", "echo 1 > /ckpt/a"])
    job = replace(job, checkpoint=Checkpoint(path, 0, None))
    outcome, _ = run(lab, job, [PathMap("/ckpt", tmp_path)])
    assert outcome.state is JobState.SUCCEEDED
    assert (checkpoints(lab, 0) / "a").exists()


def test_a_parent_of_an_earlier_run_is_found_in_that_runs_folder(tmp_path: Path) -> None:
    earlier = LocalRunner(tmp_path / "contract-11111111")
    job = given(batch_job(4, ["sh", "-c", "echo earlier > /ckpt/a"]))
    earlier.run(job, Watch(), StopRequest())
    lab = LocalLab(tmp_path)
    child = replace(given(batch_job(9, ["cat", "/ckpt/a"]), 0), parent="contract-11111111-4")
    outcome, watch = run(lab, child)
    assert (outcome.state, watch.lines) == (JobState.SUCCEEDED, ["earlier"])


def test_a_container_may_work_in_its_checkpoint_folder(tmp_path: Path) -> None:
    place = "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.workingDir"
    made = experiment("pwd; echo loss=$X", pbt(5) | {place: "/ckpt"})
    check_local(made)
    runner = LocalRunner(tmp_path)
    history = History(made, "0a1b2c3d", seed=3)
    run_experiment(history, runner, watch=lambda update: None, stop=StopRequest())
    runner.close()
    log = (tmp_path / "trials/0003/job-0.log").read_text()
    assert log.startswith(str(tmp_path / "trials/0003/checkpoints"))
