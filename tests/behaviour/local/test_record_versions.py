"""Tests the versions of files in a run's folder: older, newer and broken files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from katibflow.errors import RunnerError
from katibflow.runners.base import JobState
from katibflow.runners.local.attempt import ATTEMPT_VERSION, END_VERSION
from katibflow.runners.local.manifest import plan_job
from katibflow.runners.local.members import FOLDER_MARK, REPLICA_MARK, in_session
from katibflow.runners.local.processes import adopt
from katibflow.runners.local.trial_folder import RECORD_VERSION, TrialFolder
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import TrialState
from tests.behaviour.runner_contract import Watch, Work, trial
from tests.doubles.local_lab import LocalLab, run


def rewrite(path: Path, **changes: Any) -> None:
    data = json.loads(path.read_text())
    data.update(changes)
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))


def trials(lab: LocalLab) -> Path:
    return lab.folder / "trials"


def as_version_1(attempt: Path) -> None:
    """Turns an attempt into one of the first version: with a boot id, no versions, no locks."""
    rewrite(attempt / "job.json", version=None, boot="6a1f0c1e-0000-0000-0000-000000000000")
    if (attempt / "end.json").exists():
        rewrite(attempt / "end.json", version=None)
    for path in attempt.glob("*.alive"):
        path.unlink()


def test_every_file_carries_its_version(lab: LocalLab) -> None:
    stop = StopRequest()
    runner = lab.runner()

    def observe(event: object) -> None:
        stop.set("seen")

    runner.run(lab.job(0, Work(held=True)), observe, stop)
    folder = trials(lab) / "0000"
    for name, version in (
        ("record.json", RECORD_VERSION),
        ("attempt-1/job.json", ATTEMPT_VERSION),
        ("attempt-1/end.json", END_VERSION),
    ):
        assert json.loads((folder / name).read_text())["version"] == version


def test_a_record_without_a_version_is_of_version_1(lab: LocalLab) -> None:
    done = trial(0, TrialState.COMPLETE, reason="TrialSucceeded")
    lab.runner().record(done)
    rewrite(trials(lab) / "0000" / "record.json", version=None)
    assert lab.runner().records() == (done,)


def test_an_ended_attempt_of_version_1_is_not_run_again(lab: LocalLab) -> None:
    job = lab.job(0, Work(["loss=1"]))
    first, _ = run(lab, job)
    as_version_1(trials(lab) / "0000" / "attempt-1")
    second, watch = run(lab, job)
    assert (second.state, watch.lines) == (first.state, ["loss=1"])
    assert lab.executions(0) == 1


@pytest.fixture
def process_of_version_1(lab: LocalLab) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a shell as the first version did for replica job-0 of trial 0: without a lock."""
    folder = TrialFolder(trials(lab) / "0000", 0)
    job = lab.job(0, Work(["loss=1"], held=True, last_lines=["loss=0"]))
    folder.write_record(job.trial)
    attempt = folder.new_attempt(str(job.trial.job), job.manifest, 20_000)
    (replica,) = plan_job(job.manifest, "any", 20_000).replicas
    base = attempt.base("job-0")
    script = f'echo $$ > "{base}.pid"; "$@"; echo $? > "{base}.exit"'
    with folder.log("job-0").open("wb") as log:
        process = subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", *replica.container["command"]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            env={FOLDER_MARK: str(folder.path), REPLICA_MARK: "job-0", "PATH": "/usr/bin:/bin"},
            start_new_session=True,
        )
    as_version_1(attempt.folder)
    while attempt.pid("job-0") is None:
        assert process.poll() is None
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    while in_session(process.pid):  # the shell's child is killed too, and ends a little later
        time.sleep(0.001)


def test_a_running_attempt_of_version_1_is_adopted(
    lab: LocalLab, process_of_version_1: subprocess.Popen[bytes]
) -> None:
    watch = Watch()

    def observe(event: Any) -> None:
        watch(event)
        if watch.lines == ["loss=1"]:
            lab.release(0)

    job = lab.job(0, Work(["loss=1"], held=True, last_lines=["loss=0"]))
    outcome = lab.runner().run(job, observe, StopRequest())
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["loss=1", "loss=0"]
    assert lab.executions(0) == 1


def test_a_stranger_under_the_pid_of_version_1_is_not_adopted(
    lab: LocalLab, process_of_version_1: subprocess.Popen[bytes]
) -> None:
    folder = TrialFolder(trials(lab) / "0000", 0)
    attempt = folder.attempt()
    assert attempt is not None
    assert adopt(attempt, "job-0", folder.path) is not None
    with subprocess.Popen(["sleep", "60"]) as stranger:
        Path(f"{attempt.base('job-0')}.pid").write_text(f"{stranger.pid}\n")
        assert adopt(attempt, "job-0", folder.path) is None
        stranger.kill()


@pytest.mark.parametrize(
    ("name", "newest"),
    [
        ("record.json", RECORD_VERSION),
        ("attempt-1/job.json", ATTEMPT_VERSION),
        ("attempt-1/end.json", END_VERSION),
    ],
)
@pytest.mark.parametrize("version", [99, 0, "2", True, 1.5])
def test_an_unknown_version_is_said_with_those_that_are_read(
    lab: LocalLab, name: str, newest: int, version: object
) -> None:
    stop = StopRequest()
    job = lab.job(0, Work(held=True))
    lab.runner().run(job, lambda event: stop.set("seen"), stop)
    path = trials(lab) / "0000" / name
    rewrite(path, version=version)
    with pytest.raises(RunnerError) as caught:
        lab.runner().records()
    reads = "1" if newest == 1 else f"1 to {newest}"
    assert f"{path}: found version {version!r}" in str(caught.value)
    assert f"reads {reads};" in str(caught.value)


def test_an_attempt_of_an_unknown_version_is_not_run_again(lab: LocalLab) -> None:
    job = lab.job(0, Work())
    run(lab, job)
    rewrite(trials(lab) / "0000" / "attempt-1" / "job.json", version=99)
    with pytest.raises(RunnerError, match="found version 99"):
        run(lab, job)
    assert lab.executions(0) == 1


def test_records_that_cannot_be_read_hide_no_others(lab: LocalLab) -> None:
    runner = lab.runner()
    for number in range(5):
        runner.record(trial(number, TrialState.COMPLETE, reason="TrialSucceeded"))
    newer, broken = trials(lab) / "0001" / "record.json", trials(lab) / "0003" / "record.json"
    rewrite(newer, version=99)
    broken.write_text("{")
    told: list[str] = []
    assert [each.number for each in runner.readable_records(told.append)] == [0, 2, 4]
    assert [text.split(":")[0] for text in told] == [str(newer), str(broken)]
    # A run that goes on must know them all, and says which ones it does not.
    with pytest.raises(RunnerError) as caught:
        runner.records()
    assert str(newer) in str(caught.value)
    assert str(broken) in str(caught.value)


def test_a_sweep_stops_the_others_of_a_broken_record(lab: LocalLab) -> None:
    runner = lab.runner()
    for number in (0, 1):
        runner.record(trial(number))
    (trials(lab) / "0000" / "record.json").write_text("{")
    attempt = TrialFolder(trials(lab) / "0001", 1).new_attempt("job", {}, 20_000)
    with pytest.raises(RunnerError, match="0000"):
        runner.sweep((), "over")
    end = attempt.end()
    assert end is not None
    assert end.state is JobState.STOPPED


def test_a_report_shows_what_can_be_read_and_says_what_cannot(tmp_path: Path) -> None:
    from katibflow.runners.local.runner import LocalRunner
    from katibflow.runs.folder import RunFolder
    from katibflow.runs.running import read_run
    from tests.searching import experiment

    folder = RunFolder(tmp_path / "run")
    history, _ = folder.begin("test", experiment("random"))
    folder.save(history)
    runner = LocalRunner(folder.path)
    done = trial(0, TrialState.COMPLETE, assignments={}, reason="TrialSucceeded")
    for number in range(3):
        runner.record(replace(done, number=number))
    path = folder.path / "trials" / "0001" / "record.json"
    rewrite(path, version=99)
    told: list[str] = []
    shown = read_run(folder.path, told.append)
    assert shown.history.run == history.run
    assert [each.number for each in shown.history.trials] == [0, 2]
    assert len(told) == 1
    assert str(path) in told[0]
