"""Tests ``katibflow run --on kubernetes`` as a person runs it, against a double of the API."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.behaviour.kubernetes.test_engine_on_kubernetes import document, trains
from tests.doubles.kubernetes.lab import EXPERIMENT, Lab
from tests.doubles.kubernetes.plays import JobPlay, PodPlay
from tests.paths import ROOT
from tests.processes import finish
from tests.warm import client as warm


def start(lab: Lab, folder: Path, *words: str, **spec: Any) -> subprocess.Popen[str]:
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(document(**spec)))
    environment = {**os.environ, "KUBECONFIG": str(lab.kubeconfig())}
    return warm.popen("run", file, "--on", "kubernetes", *words, cwd=folder, env=environment)


def test_trials_are_jobs_and_their_logs_and_records_are_kept_here(lab: Lab, tmp_path: Path) -> None:
    lab.server.script = trains
    code, out, err = finish(start(lab, tmp_path))
    assert (code, err) == (0, "")
    assert "9 trials ended, maxTrialCount is 9" in out
    run = tmp_path / "runs" / EXPERIMENT
    header, *trials = map(json.loads, (run / "study.jsonl").read_text().splitlines())
    names = {f"{EXPERIMENT}-{header['run']}-{number}" for number in range(9)}
    assert {trial["job"] for trial in trials} == names == set(lab.server.objects["jobs"])
    log = (run / "trials" / "0003" / "main.log").read_text()
    assert log.startswith("loss=")
    assert 'href="trials/0003/main.log"' in (run / "report.html").read_text()
    report = warm.run("report", run)
    assert report.stdout.splitlines()[0] == "ExperimentMaxTrialsReached: " + (
        "9 trials ended, maxTrialCount is 9"
    )
    assert report.stdout.splitlines()[1:] == [
        line.replace("runs/", f"{tmp_path}/runs/") for line in out.splitlines()[-3:]
    ]


def test_killed_and_started_again_it_adopts_its_jobs(lab: Lab, tmp_path: Path) -> None:
    killed: list[bool] = []

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("loss=1")
        lab.server.wait_for(lambda: bool(killed))
        pod.exit()
        play.condition("Complete", "CompletionsReached")

    lab.server.script = script
    first = start(lab, tmp_path)
    lab.server.wait_for(lambda: len(lab.server.objects["jobs"]) == 3)
    first.kill()
    first.communicate()
    killed.append(True)
    with lab.server.changed:
        lab.server.changed.notify_all()
    code, out, err = finish(start(lab, tmp_path))
    assert (code, err) == (0, "")
    assert set(re.findall(r"trial (\d) taken up again", out)) <= set("012")
    assert lab.server.count("create", "jobs") >= 9
    assert len(lab.server.objects["jobs"]) == 9


@pytest.mark.parametrize("killed", [False, True], ids=["over", "killed"])
def test_finished_trials_whose_jobs_are_deleted_stay_finished(
    lab: Lab, tmp_path: Path, killed: bool
) -> None:
    lab.server.script = trains
    code, _, err = finish(start(lab, tmp_path, maxTrialCount=3))
    assert (code, err) == (0, "")
    study = tmp_path / "runs" / EXPERIMENT / "study.jsonl"
    header, *before = study.read_text().splitlines(keepends=True)
    if killed:  # the history has what was on record at the start, and the copies have the rest
        study.write_text(header)
    for name in list(lab.server.objects["jobs"])[:2]:
        lab.server.delete("jobs", name)
    code, out, err = finish(start(lab, tmp_path, maxTrialCount=4))
    assert (code, err) == (0, "")
    assert "4 trials ended, maxTrialCount is 4" in out
    assert study.read_text().splitlines(keepends=True)[1:4] == before
    assert lab.server.count("create", "jobs") == 4


def test_a_log_that_was_rotated_meanwhile_is_gone_on_with(lab: Lab, tmp_path: Path) -> None:
    """Only the newest file is to be had; what is here, readings too, is not taken back."""
    pods: list[PodPlay] = []
    go_on = threading.Event()

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("loss=0.25", "same", "same")
        pods.append(pod)
        assert go_on.wait(30)
        pod.log("end of training")
        pod.exit()
        play.condition("Complete", "CompletionsReached")

    lab.server.script = script
    spec = {"maxTrialCount": 1, "parallelTrialCount": 1}
    first = start(lab, tmp_path, **spec)
    log = tmp_path / "runs" / EXPERIMENT / "trials" / "0000" / "main.log"
    whole = "loss=0.25\nsame\nsame\n"
    while not (log.exists() and log.read_text() == whole):
        assert first.poll() is None
    first.kill()
    first.communicate()
    (pod,) = pods
    pod.rotate_log()
    pod.log("in the new file")
    second = start(lab, tmp_path, **spec)
    while "new file" not in log.read_text():
        assert second.poll() is None
    go_on.set()
    code, out, err = finish(second)
    assert (code, err) == (0, "")
    assert "loss=0.25" in out
    assert "the log was rotated: lines from " in out
    assert log.read_text() == whole + "in the new file\nend of training\n"
    assert not list(log.parent.glob("*.position"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_leaves_at_once_and_says_what_is_left(
    lab: Lab, tmp_path: Path, number: signal.Signals
) -> None:
    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("loss=1")

    lab.server.script = script
    lab.server.outlives = lambda pod: True
    first = start(lab, tmp_path, maxTrialCount=2, parallelTrialCount=2)
    logs = [tmp_path / "runs" / EXPERIMENT / "trials" / f"000{n}" / "main.log" for n in range(2)]
    while not all(log.exists() and log.read_text() for log in logs):
        assert first.poll() is None
    first.send_signal(number)
    jobs = lab.server.objects["jobs"]
    lab.server.wait_for(lambda: all(job["spec"].get("suspend") for job in jobs.values()), 60)
    first.send_signal(number)
    code, _, err = finish(first)
    assert code == 128 + number
    assert "leaves at once, by a second signal" in err
    for name in jobs:
        stopped = f"Job {name} is stopped; still ending: {name}-job-0"
        assert stopped in err or f"Job {name} is asked to stop" in err  # without the answer yet
    assert err.endswith("the same command goes on from here\n")


@pytest.mark.long
def test_a_new_run_takes_over_what_earlier_ones_finished(lab: Lab, tmp_path: Path) -> None:
    lab.server.script = trains
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    code, _, err = finish(start(lab, folders[0], maxTrialCount=3))
    assert (code, err) == (0, "")
    for words in (("--resume", "all"), ()):  # the second time it only goes on
        code, out, err = finish(start(lab, folders[1], *words, maxTrialCount=5))
        assert (code, err) == (0, "")
        assert "5 trials ended, maxTrialCount is 5" in out
    assert len(lab.server.objects["jobs"]) == 5
    texts = [(path / "runs" / EXPERIMENT / "study.jsonl").read_text() for path in folders]
    studies = [list(map(json.loads, text.splitlines()[1:])) for text in texts]
    assert studies[1][:3] == studies[0]
    assert [trial["number"] for trial in studies[1]] == list(range(5))
    report = warm.run("report", folders[1] / "runs" / EXPERIMENT)
    assert "5 trials ended" in report.stdout
    folders[0].rename(tmp_path / "gone")
    folders[0].mkdir()
    other = {"type": "maximize", "objectiveMetricName": "loss"}
    code, _, err = finish(start(lab, folders[0], "--resume", "all", objective=other))
    assert code == 2
    assert "spec.objective.type: found maximize" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--resume", "yes"), 'resume: found "yes"; allowed: none, all, or an earlier run'),
        (("--map", "/opt=."), "--map: found /opt=.; allowed: only with --on local"),
        (("--context", "nope"), "nope"),
        (("--namespace", "Not A Namespace"), "Not A Namespace"),
    ],
)
def test_bad_words_start_nothing(
    lab: Lab, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    code, out, err = finish(start(lab, tmp_path, *words))
    assert (code, out) == (2, "")
    assert said in err
    assert lab.server.count("create", "jobs") == 0
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_the_readme_s_command_runs_pytorch_jobs(lab: Lab, tmp_path: Path) -> None:
    def script(play: JobPlay) -> None:
        master, worker = play.pods()
        for pod in (master, worker):
            pod.running()
        master.log(f"loss=0.{play.number + 1}")
        for pod in (worker, master):
            pod.exit()
        play.condition("Succeeded", "PyTorchJobSucceeded")

    lab.server.script = script
    root = ROOT
    readme = (root / "README.md").read_text()
    (command,) = re.findall(r"^\$ (\S+katibflow run .*--on kubernetes.*)$", readme, re.MULTILINE)
    words = command.split()[2:]
    words[0] = str(root / words[0])
    environment = {**os.environ, "KUBECONFIG": str(lab.kubeconfig())}
    done = warm.run("run", *words, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "best trial: 0, loss=0.1" in done.stdout
    assert len(lab.server.objects["pytorchjobs"]) == 8
    assert (tmp_path / "runs/mnist/trials/0007/pytorch.log").read_text() == "loss=0.8\n"
