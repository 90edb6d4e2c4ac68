"""The steps of a round and the report with trials on Kubernetes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from katibflow.errors import InputError
from katibflow.steps import collector, controller, launcher, start, suggestion
from katibflow.steps.backends import runner_for
from katibflow.steps.files import read_study
from katibflow.study.history import Trial, TrialState
from tests.behaviour.steps.test_finish import kubeconfig
from tests.doubles.kubernetes.plays import completes
from tests.doubles.kubernetes.server import ApiServer
from tests.shell_trials import ROOM, Output, document, outputs, reported


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    made = ApiServer()
    for name, value in kubeconfig(tmp_path, made).items():
        monkeypatch.setenv(name, value)
    yield made
    made.down()


def begun(folder: Path, trials: int = 1) -> tuple[Output, list[str]]:
    """The study of a run with one round, and the round's trials."""
    (study,) = outputs(folder, "study")
    counts = {"parallelTrialCount": str(trials), "maxTrialCount": str(trials)}
    start(json.dumps(document("")), counts, "rounds", "the-run", "", ROOM, study)
    return study, suggestion(study.path)


def test_a_round_and_its_report(
    tmp_path: Path, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    study, (item,) = begun(tmp_path)
    log, after = outputs(tmp_path, "log", "after")
    server.script = completes(["loss=0.25"])
    ended = launcher(study.path, item, log)
    assert ended == "0 COMPLETE TrialSucceeded"
    assert "loss=0.25\n" in capsys.readouterr().out
    assert log.text == "loss=0.25\n"
    assert log.shown == "log of trial 0, round 1"
    collector(study.path, [ended], after)
    assert after.shown == "study after round 1"
    assert capsys.readouterr().out == "trial 0: COMPLETE TrialSucceeded\n"
    (trial,) = read_study(after.path).trials
    assert (trial.state, trial.observations["loss"].latest) == (TrialState.COMPLETE, 0.25)
    assert trial.queued is not None and trial.start is not None and trial.end is not None
    assert trial.queued <= trial.start <= trial.end
    told = reported(study.path, tmp_path)
    assert told.best == told.result["best"]["assignments"] == dict(trial.assignments)
    assert told.metrics.metadata["best loss"] == 0.25
    assert f"<span>{trial.job}</span>" in told.page.text
    (job,) = server.objects["jobs"].values()
    assert job["metadata"]["labels"]["katibflow/run"] == read_study(study.path).run


def test_a_controller_tried_again_has_the_logs_of_trials_that_keep_their_pods(
    tmp_path: Path, server: ApiServer
) -> None:
    counts = {"parallelTrialCount": "1", "maxTrialCount": "1"}
    text = json.dumps(document("", {"spec.trialTemplate.retain": True}))
    server.script = completes(["loss=0.25"])
    found = []
    for number in range(3):
        study, logs = outputs(tmp_path, f"study-{number}", f"logs-{number}")
        start(text, counts, "controller", "the-run", "", ROOM, study)
        controller(study.path, study, logs)
        (log,) = Path(logs.path).iterdir()
        found.append((log.name, log.read_text(encoding="utf-8")))
        if number:
            server.objects["pods"].clear()
    assert found[:2] == [("0000.log", "loss=0.25\n")] * 2
    assert found[2][1].startswith("(this trial had ended in an earlier try of this step")


def test_a_launcher_tried_again_after_its_trial_was_on_record_tells_the_same(
    tmp_path: Path, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    study, (item,) = begun(tmp_path)
    server.script = completes(["loss=0.5", "loss=0.25"])
    trials: list[Trial] = []
    ended, said = set(), set()
    for name in ("first", "second"):
        log, after = outputs(tmp_path, f"{name}-log", f"{name}-after")
        capsys.readouterr()
        told = launcher(study.path, item, log)
        said.add(capsys.readouterr().out.splitlines()[-1])
        collector(study.path, [told], after)
        trials += read_study(after.path).trials
        ended.add(told)
        # The pods went when the trial was on record, and their logs with them.
        assert server.objects["pods"] == {}
    assert ended == {"0 COMPLETE TrialSucceeded"}
    assert said == {"trial 0: COMPLETE TrialSucceeded"}
    assert log.text == "(in the log of this step's first try)\n"
    assert trials[0].state is TrialState.COMPLETE
    assert [point.value for point in trials[0].intermediate] == [0.5, 0.25]
    assert trials[1] == trials[0]
    assert server.count("create", "jobs") == 1


def test_a_trial_whose_job_was_deleted_is_left_out_and_that_is_said(
    tmp_path: Path, server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    study, items = begun(tmp_path, trials=3)
    log, after = outputs(tmp_path, "log", "after")
    server.script = completes(["loss=0.5"])
    ended = [launcher(study.path, item, log) for item in items]
    (name,) = (name for name in server.objects["jobs"] if name.endswith("-1"))
    server.delete("jobs", name)
    capsys.readouterr()
    collector(study.path, ended, after)
    assert capsys.readouterr().out.splitlines() == [
        "trial 0: COMPLETE TrialSucceeded",
        "trial 1: its job is not there any more, so it does not count",
        "trial 2: COMPLETE TrialSucceeded",
    ]
    history = read_study(after.path)
    assert [trial.number for trial in history.trials] == [0, 2]
    assert history.rounds == 1


def test_an_unknown_runner_is_named_with_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = begun(tmp_path)
    monkeypatch.setenv("KATIBFLOW_RUNNER", "docker")
    with pytest.raises(InputError, match='found "docker"; allowed: kubernetes, local'):
        runner_for(read_study(study.path))
