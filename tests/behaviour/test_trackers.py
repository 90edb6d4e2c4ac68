"""A run in a tracker: live, without duplicates after a kill, and whatever the tracker does."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow import steps, tracking
from katibflow.engine.events import MetricReported, TrialEnded, TrialStarted
from katibflow.errors import InputError, InvalidExperiment, KatibflowError
from katibflow.extras import EXTRAS
from katibflow.runs.running import read_run
from katibflow.steps.files import read_study
from katibflow.steps.tracked import track_end, track_trials
from katibflow.storage.follower import Copy, Follower, Reports
from katibflow.study.ending import Ending
from katibflow.study.history import History, Observation, Point, Trial, TrialState
from katibflow.tracking import TRACKERS, check_compiled, read_track, track_of
from katibflow.tracking.base import Files, metrics_at_end, reports_of
from katibflow.validation.rules import check_document
from tests.paths import ROOT
from tests.shell_trials import (
    ROOM,
    Output,
    document,
    experiment,
    outputs,
    reported,
    waits_for,
)


def history(*trials: Trial) -> History:
    return History(experiment("true"), "abcd1234", 1, trials)


def test_a_tracker_is_named_by_its_kind_and_place() -> None:
    assert read_track("mlflow:http://host:5000/x").place == "http://host:5000/x"
    assert read_track("mlflow").kind is TRACKERS["mlflow"]
    with pytest.raises(InputError, match=r'--track: found "mlfow"; allowed: mlflow\[:PLACE\]'):
        read_track("mlfow")


def annotated(text: str) -> dict[str, Any]:
    made = document("true")
    made["metadata"] = {**made["metadata"], "annotations": {"katibflow/track": text}}
    return made


def test_the_annotation_names_a_tracker_too_and_the_option_comes_first() -> None:
    of = check_document(annotated("mlflow:sqlite:///a.db"), "test")
    named = track_of(of, None)
    assert named is not None
    assert named.place == "sqlite:///a.db"
    assert track_of(of, "none") is None
    with pytest.raises(InvalidExperiment, match=r"metadata.annotations\[katibflow/track\]: found"):
        check_document(annotated("tensorboard"), "test")


@pytest.mark.parametrize("text", ["mlflow", "wandb:p"])
def test_a_pipeline_is_refused_what_its_steps_cannot_do(text: str) -> None:
    of = check_document(annotated(text), "e.yaml")
    with pytest.raises(
        InputError, match=r"e\.yaml: metadata\.annotations.*in a pipeline: none, or"
    ):
        check_compiled(of, "e.yaml")


@dataclass
class Written:
    """A tracker that keeps what it is told, for runs of this process."""

    place: str
    trials: list[tuple[int, str]] = field(default_factory=list)
    ends: list[tuple[str, str, bool]] = field(default_factory=list)

    def update(self, history: History, trial: Trial, reports: Reports, files: Files) -> None:
        self.trials.append((trial.number, trial.state.value))

    def end(self, history: History, ending: Ending, report: Path, files: Files) -> None:
        self.ends.append((ending.reason, report.read_text(), files.study.is_file()))

    def prepare(self) -> None:
        pass

    def forget(self) -> None:
        pass

    def why(self, error: BaseException) -> str:
        return str(error)


def test_steps_write_the_trials_of_a_study_and_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[Written] = []

    class Kept(Written):
        def __init__(self, place: str) -> None:
            super().__init__(place)
            made.append(self)

    monkeypatch.setattr(sys.modules[__name__], "Kept", Kept, raising=False)
    kind = replace(TRACKERS["mlflow"], extra="kfp", module=__name__, name="Kept")
    monkeypatch.setattr(tracking, "TRACKERS", {"mlflow": kind})
    monkeypatch.setitem(EXTRAS, "kfp", ("json",))  # type: ignore[arg-type]  # is always there
    of = check_document(annotated("mlflow:http://m:5000"), "test")
    trial = Trial(0, TrialState.COMPLETE, {"x": "1"}, {"loss": Observation(1, 1, 1)})
    study = History(of, "abcd1234", 1, (trial,))
    track_trials(study)
    page = tmp_path / "page"
    page.write_text("<html>")
    track_end(study, Ending(True, "Done", "done"), str(page))
    round_, end = made
    assert (round_.place, round_.trials, round_.ends) == ("http://m:5000", [(0, "COMPLETE")], [])
    assert end.ends == [("Done", "<html>", True)]
    monkeypatch.setitem(EXTRAS, "kfp", ("no_such_module",))  # type: ignore[arg-type]
    monkeypatch.setattr(tracking, "TRACKERS", {"mlflow": replace(kind, requirement="./absent")})
    track_trials(study)
    assert len(made) == 2
    assert "the run is not written to its tracker: pip install ./absent" in capsys.readouterr().out


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is not None, reason="mlflow is installed")
def test_a_client_that_is_not_installed_is_named_with_its_extra() -> None:
    with pytest.raises(KatibflowError, match=r"mlflow.*katibflow\[mlflow\]"):
        read_track("mlflow").make()


def test_what_no_process_saw_comes_from_the_record() -> None:
    seen = {"loss": Observation(0.5, 0.25, 1.0), "acc": Observation(0.75, 0.5, 0.75)}
    points = (Point(0, 0.25), Point(1, 0.5))
    trial = Trial(0, TrialState.COMPLETE, {"x": "1"}, seen, points)
    of = history(trial)
    known = reports_of(of, trial, {})
    assert known["loss"] == points
    assert [point.value for point in known["acc"]] == [0.75]
    live = {"loss": (Point(0, 0.125),)}
    assert reports_of(of, trial, live)["loss"] == live["loss"]
    assert metrics_at_end(of, trial) == {"loss.min": 0.25, "acc.min": 0.5}


def test_a_tracker_that_is_down_is_told_once_and_tried_again_at_the_end() -> None:
    """It comes back while the run ends, and then has every trial, in order, and the end last."""
    said: list[str] = []
    written: list[tuple[int, str, int]] = []
    down = threading.Event()
    down.set()
    told = threading.Event()

    def update(_: History, trial: Trial, reports: Reports) -> None:
        if down.is_set():
            raise OSError("connection refused")
        written.append((trial.number, trial.state.value, len(reports.get("acc", ()))))

    def warn(text: str) -> None:
        said.append(text)
        told.set()

    copy = Copy("--track x", "the tracker", update, lambda: None, str)
    trial = Trial(0, TrialState.RUNNING, {"x": "1"})
    with Follower(copy, warn) as follower:
        follower.follow(history())
        follower(TrialStarted(trial, False))
        assert told.wait(10)
        follower(MetricReported(0, "acc", Point(0, 0.5)))
        follower(TrialEnded(replace(trial, state=TrialState.COMPLETE), {}))
        follower.end_with(lambda _: written.append((-1, "end", 0)))
        down.clear()
    assert written[-2:] == [(0, "COMPLETE", 1), (-1, "end", 0)]
    assert [text for text in said if "cannot be written" in text] == said[:1]
    assert said[0].startswith("--track x: cannot be written: connection refused; the run goes on")


def test_a_client_that_loads_longer_than_writes_may_take_is_waited_for() -> None:
    """The end tells that it waits, and everything is written then."""
    said: list[str] = []
    waits, written = threading.Event(), []

    def warn(text: str) -> None:
        said.append(text)
        waits.set()

    def prepare() -> None:
        assert waits.wait(30)

    def update(_: History, trial: Trial, reports: Reports) -> None:
        written.append(trial.number)

    copy = Copy("--track x", "the tracker", update, lambda: None, str, prepare)
    with Follower(copy, warn, patience=0.5) as follower:
        follower.follow(history(Trial(0, TrialState.COMPLETE, {"x": "1"})))
    assert written == [0]
    assert said == ["--track x: its driver is still being loaded; the end waits"]


# ------------------------------------------------------------------------------- a real server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server with SQLite."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                *("--host", "127.0.0.1", "--port", str(port)),
                *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
                *("--artifacts-destination", str(folder / "artifacts")),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while True:  # it takes as long as it takes
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs katibflow[mlflow]")
@pytest.mark.filterwarnings("default")
def test_mlflow_has_each_trial_once_though_the_run_was_killed(server: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    go = tmp_path / "go"
    script = (
        "for i in 3 2 1; do echo loss=$((X+i)) acc=0.$i; done; "
        f"mkdir {tmp_path}/first || mkdir {tmp_path}/second || {{ {waits_for(go)}; }}; "
        "[ $X -lt 70 ]"
    )
    of = document(script, {"spec.objective.additionalMetricNames": ["acc"]})
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(of))
    page = (ROOT / "docs" / "trackers.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\$ (katibflow .*)$", page, re.MULTILINE)
    words = shlex.split(shown[0])
    assert words[-1] == "mlflow:http://127.0.0.1:5000"
    command = [sys.executable, "-m", *words[:-1], f"mlflow:{server}"]
    where = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    client = MlflowClient(server)

    def children() -> list[Any]:
        known = client.get_experiment_by_name("sample")
        if known is None:
            return []
        return list(client.search_runs([known.experiment_id], "tags.`katibflow.trial` LIKE '%'"))

    first = subprocess.Popen(command, **where, stdout=subprocess.DEVNULL)  # type: ignore[call-overload]
    while sum("katibflow.state" in each.data.tags for each in children()) < 4:
        assert first.poll() is None  # two that ended, and two that have printed
        time.sleep(0.2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    go.touch()
    for _ in range(5):
        done = subprocess.run(command, **where, capture_output=True, text=True)  # type: ignore[call-overload]
        if "the same command, started again" not in done.stderr:
            break  # a busy machine may need the command again, as the message says
    assert "--track" not in done.stderr, done.stderr

    run = read_run(tmp_path / "runs" / "sample")
    found = {int(each.data.tags["katibflow.trial"]): each for each in children()}
    assert len(children()) == len(found) == len(run.history.trials) == 6
    for trial in run.history.trials:
        each = found[trial.number]
        assert each.data.params == trial.assignments
        assert each.data.tags["katibflow.state"] == trial.state
        status = "FAILED" if trial.state is TrialState.FAIL else "FINISHED"
        assert each.info.status == status
        series = client.get_metric_history(each.info.run_id, "loss")
        x = int(trial.assignments["x"])
        assert sorted((point.step, point.value) for point in series) == [
            (0, x + 3),
            (1, x + 2),
            (2, x + 1),
        ]
        assert "acc" in each.data.metrics
        assert [file.path for file in client.list_artifacts(each.info.run_id, "logs")]
    parents = client.search_runs([each.info.experiment_id], "tags.`katibflow.state` = 'run'")
    (parent,) = parents
    assert {found[0].data.tags["mlflow.parentRunId"]} == {parent.info.run_id}
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files >= {"report.html", "study.jsonl"}
    assert parent.info.status == ("FINISHED" if run.ending.succeeded else "FAILED")


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs katibflow[mlflow]")
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("layout", ["rounds", "controller"])
def test_the_steps_of_a_pipeline_write_its_run_to_mlflow(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("KATIBFLOW_RUNNER", "local")
    monkeypatch.setenv("KATIBFLOW_RUNS", str(tmp_path / "runs"))
    study, logs, text = outputs(tmp_path, "study", "logs", "text")
    of, given = json.dumps(document("echo loss=$X")), {"track": f"mlflow:{server}"}
    steps.start(of, given, layout, "some-run", "", ROOM, study)
    if layout == "controller":
        steps.controller(study.path, study, logs)
    else:
        goes_on = True
        while goes_on:
            items = list(enumerate(steps.suggestion(study.path)))
            (after,) = outputs(tmp_path, f"study-{read_study(study.path).rounds}")
            ended = [
                steps.launcher(study.path, item, Output(f"{after.path}-{number}.log"))
                for number, item in items
            ]
            steps.collector(study.path, ended, after)
            study = after
            goes_on = steps.loop(study.path, text, str(tmp_path / "reason"))
    reported(study.path, tmp_path)
    client = MlflowClient(server)
    known = client.get_experiment_by_name("sample")
    assert known is not None
    runs = client.search_runs([known.experiment_id])
    (parent,) = (each for each in runs if each.data.tags["katibflow.state"] == "run")
    children = [each for each in runs if each is not parent]
    assert sorted(int(each.data.tags["katibflow.trial"]) for each in children) == [*range(6)]
    assert {each.info.status for each in (*children, parent)} == {"FINISHED"}
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} >= {"report.html"}
    if layout == "controller":
        assert client.list_artifacts(children[0].info.run_id, "logs")


def records_of(text: bytes) -> Iterator[bytes]:
    """Yields the records of a file of W&B's, which has LevelDB's log format after 7 bytes."""
    at, data = 7, b""
    while at < len(text):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        size, part = int.from_bytes(text[at + 4 : at + 6], "little"), text[at + 6]
        data += text[at + 7 : at + 7 + size]
        at += 7 + size
        if part in (1, 4):  # a whole record, or the last part of one
            yield data
            data = b""


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs katibflow[wandb]")
@pytest.mark.filterwarnings("default")
def test_wandb_has_a_file_for_each_trial_and_one_for_the_run(tmp_path: Path) -> None:
    from wandb.proto.wandb_internal_pb2 import Record

    page = (ROOT / "docs" / "trackers.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\$ (katibflow .*wandb.*)$", page, re.MULTILINE)
    command = [sys.executable, "-m", *shlex.split(line)]
    of = document("echo loss=$X; echo loss=1; [ $X -lt 70 ]")
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(of))
    where = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    for _ in range(2):  # the second finds all of them written
        done = subprocess.run(command, **where, capture_output=True, text=True)  # type: ignore[call-overload]
        assert "--track" not in done.stderr, done.stderr
    run = read_run(tmp_path / "runs" / "sample")
    files = sorted((run.folder.path / "wandb").glob("offline-run-*/*.wandb"))
    assert len(files) == len(run.history.trials) + 1
    found: dict[str, list[Any]] = {}
    for file in files:
        for data in records_of(file.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            found.setdefault(file.stem, []).append(record)
    for trial in run.history.trials:
        records = found[f"run-{run.history.run}-{trial.number}"]
        (head,) = (each.run for each in records if each.HasField("run"))
        assert (head.job_type, head.project) == ("trial", "my-project")
        config = {each.key: each.value_json for each in head.config.update}
        assert config["x"] == f'"{trial.assignments["x"]}"'
        rows = [each.history for each in records if each.HasField("history")]
        assert len(rows) == len(trial.intermediate)
    assert f"run-{run.history.run}-run" in found
