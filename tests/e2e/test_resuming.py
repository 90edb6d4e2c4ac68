"""A run that begins with the finished trials of earlier runs, here and in a cluster."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from katibflow.compiler.emit import compile_experiment
from katibflow.steps import collector, controller, launcher, loop, start, suggestion
from katibflow.steps.capacity import Capacity
from katibflow.steps.files import read_study
from katibflow.steps.messages import read_item
from katibflow.study.history import History, TrialState
from katibflow.study.reasons import ExperimentReason as Why
from katibflow.study.resume import run_name
from tests.behaviour.steps.test_finish import kubeconfig
from tests.doubles.kubernetes.plays import JobPlay, completes
from tests.doubles.kubernetes.server import ApiServer
from tests.e2e.kfp_local import run_pipeline
from tests.shell_trials import ROOM, document, experiment, outputs, reported

WIDER = [{"name": "x", "parameterType": "int", "feasibleSpace": {"min": "0", "max": "9"}}]


class Runs:
    """Runs of one experiment, layout controller, one trial at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(
        self, run: str, most: int = 2, changes: Mapping[str, Any] | None = None, **given: str
    ) -> History:
        text = json.dumps(document('echo "loss=$X"', changes))
        counts = {"parallelTrialCount": "1", "maxTrialCount": str(most)}
        layout = given.pop("layout", "controller")
        room = int(given.pop("room", ROOM))
        (study,) = outputs(self.folder, "study")
        start(text, counts | given, layout, run, "", room, study)
        return read_study(study.path)

    def go(self, run: str, most: int = 2, **given: str) -> History:
        self.start(run, most, None, **given)
        study, after, logs = outputs(self.folder, "study", "after", "logs")
        controller(study.path, after, logs)
        return read_study(after.path)


@pytest.fixture(params=["local", "kubernetes"])
def runs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KATIBFLOW_RUNNER", request.param)
    monkeypatch.setenv("KATIBFLOW_RUNS", str(tmp_path / "runs"))
    server = ApiServer()
    server.script = completes(["loss=0.5"])
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, server)["KUBECONFIG"])
    yield Runs(tmp_path)
    server.down()


def test_finished_trials_of_all_earlier_runs_count(runs: Runs, tmp_path: Path) -> None:
    first, second = runs.go("one"), runs.go("two")
    assert len(runs.go("three").trials) == 2
    third = runs.go("four", most=7, resume="all")
    own = [trial for trial in third.trials if run_name("four") in (trial.job or "")]
    assert [trial.number for trial in third.trials] == list(range(7))
    assert [trial.number for trial in own] == [6]
    before = [trial for trial in (*first.trials, *second.trials)]
    taken = third.trials[:4]
    for earlier, now in zip(before, taken, strict=True):
        assert (now.job, now.start, now.end) == (earlier.job, earlier.start, earlier.end)
        assert now.observations == earlier.observations
    told = reported(str(tmp_path / "after"), tmp_path)
    assert told.metrics.metadata["trials"] == 7
    assert told.best


def test_each_run_adds_its_trials_to_one_study(runs: Runs) -> None:
    for number, so_far in enumerate((2, 5, 8)):
        most = "+2" if number == 0 else "+3"
        study = runs.go(f"night-{number}", maxTrialCount=most, resume="all")
        assert [trial.number for trial in study.trials] == list(range(so_far))
        assert study.experiment.spec.max_trial_count == so_far
    assert len(runs.go("apart", maxTrialCount="+2").trials) == 2
    with pytest.raises(SystemExit, match=r"spec\.maxTrialCount: found 0"):
        runs.start("none", maxTrialCount="+0", resume="all")


def test_one_run_is_resumed_by_either_of_its_ids(runs: Runs) -> None:
    kfp = "0a1b2c3d-0000-4000-8000-000000000000"
    runs.go("another")
    (earlier, _) = runs.go(kfp).trials
    for number, text in enumerate((run_name(kfp), kfp.upper())):
        history = runs.start(f"run-{number}", most=9, resume=text)
        assert history.trials[0].job == earlier.job
        assert len(history.trials) == 2


def test_another_search_space_is_refused_with_the_difference(runs: Runs) -> None:
    runs.go("one")
    with pytest.raises(SystemExit) as told:
        runs.start("two", changes={"spec.parameters": WIDER}, resume="all")
    assert "spec.parameters[0].feasibleSpace" in str(told.value)
    assert '{"min":"0","max":"9"' in str(told.value)
    assert '{"min":"0","max":"99"' in str(told.value)
    assert f"sample, run {run_name('one')}" in str(told.value)


def test_a_run_that_is_not_there_is_named_with_those_that_are(runs: Runs) -> None:
    runs.go("one")
    with pytest.raises(SystemExit, match=f"allowed: {run_name('one')}"):
        runs.start("two", resume="ffffffff")
    with pytest.raises(SystemExit, match='resume: found "yes"; allowed: none, all'):
        runs.start("two", resume="yes")


def test_rounds_refuse_to_begin_when_nothing_is_left_to_do(runs: Runs) -> None:
    runs.go("one")
    with pytest.raises(SystemExit, match=r"over before it begins.*ExperimentMaxTrialsReached"):
        runs.start("two", layout="rounds", resume="all")
    history = runs.start("three", most=3, layout="rounds", resume="all")
    (item,) = suggestion(str(runs.folder / "study"))
    assert read_item(item, history).number == len(history.trials) == 2


def a_round(folder: Path) -> tuple[bool, str]:
    """The steps of a round on the study at hand: whether another follows, and why not."""
    study, log, after, text = outputs(folder, "study", "log", "after", "text")
    reason = folder / "reason"
    ended = [launcher(study.path, item, log) for item in suggestion(study.path)]
    collector(study.path, ended, after)
    proceed = loop(after.path, text, str(reason))
    shutil.rmtree(study.path)
    Path(after.path).rename(study.path)
    return proceed, reason.read_text(encoding="utf-8")


def test_rounds_that_are_used_up_are_gone_on_with_in_another_run(
    runs: Runs, tmp_path: Path
) -> None:
    two_rounds = str(math.ceil(Capacity.of(experiment("")).of_rounds(2, 1)))
    given = {"layout": "rounds", "room": two_rounds}
    assert runs.start("one", most=9, **given).most_rounds == 2
    assert a_round(tmp_path) == (True, "")
    proceed, reason = a_round(tmp_path)
    assert not proceed
    assert reason.startswith(f"{Why.ROUNDS_USED_UP}: 2 rounds with 2 trials are over")
    assert f"katibflow submit FILE --resume {run_name('one')} " in reason
    assert "--layout controller" in reason
    assert suggestion(str(tmp_path / "study")) == []

    earlier = read_study(str(tmp_path / "study")).trials
    taken = runs.start("two", most=9, resume=run_name("one"), **given)
    assert taken.trials == earlier
    assert (taken.rounds, taken.most_rounds) == (0, 2)
    (item,) = suggestion(str(tmp_path / "study"))
    assert read_item(item, taken).number == 2
    assert a_round(tmp_path) == (True, "")
    assert a_round(tmp_path)[1].startswith(f"{Why.ROUNDS_USED_UP}: 2 rounds with 4 trials are over")
    trials = read_study(str(tmp_path / "study")).trials
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert trials[:2] == earlier
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


def test_trials_that_did_not_finish_stay_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ApiServer()
    for name, value in kubeconfig(tmp_path, server).items():
        monkeypatch.setenv(name, value)

    def script(play: JobPlay) -> None:
        completes(["loss=0.5"])(play) if play.number != 1 else play.pods()[0].running()

    server.script = script
    runs = Runs(tmp_path)
    try:
        runs.go("one", most=1)
        job = next(iter(server.objects["jobs"].values()))
        record = json.loads(job["metadata"]["annotations"]["katibflow/record"])
        for number, state in enumerate(("RUNNING", "KILLED", "FAIL"), start=1):
            text = json.dumps(record | {"number": number, "state": state})
            other = {**job, "metadata": {**job["metadata"], "name": f"other-{number}"}}
            annotations = {**job["metadata"]["annotations"], "katibflow/record": text}
            other["metadata"]["annotations"] = annotations
            server.put("jobs", other, "ADDED")
        taken = runs.start("two", most=9, resume="all").trials
        assert [trial.state for trial in taken] == [TrialState.COMPLETE, TrialState.FAIL]
        del job["metadata"]["annotations"]["katibflow/search"]
        server.put("jobs", job)
        with pytest.raises(SystemExit, match="do not say what they searched"):
            runs.start("three", resume="all")
    finally:
        server.down()


@pytest.mark.long
def test_the_compiled_rounds_go_on_from_an_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KATIBFLOW_RUNNER", "local")
    monkeypatch.setenv("KATIBFLOW_RUNS", str(tmp_path / "runs"))
    (earlier,) = Runs(tmp_path).go("one", most=1).trials
    tried = experiment('echo "loss=$X"', {"spec.resumePolicy": "LongRunning"})
    counts = {"parallelTrialCount": "1", "maxTrialCount": "2"}
    run = run_pipeline(tmp_path, compile_experiment(tried).text, counts)
    assert run.code == 0, run.log
    assert run.count("launcher") == 1
    assert [trial.number for trial in run.study.trials] == [0, 1]
    assert run.study.trials[0].job == earlier.job
    assert run.metrics("report")["trials"] == 2
