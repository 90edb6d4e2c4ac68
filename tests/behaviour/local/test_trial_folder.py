"""Tests trials' folders: records and attempts on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from katibflow.errors import RunnerError
from katibflow.runners.base import JobState
from katibflow.runners.local.runner import LocalRunner, RunLock
from katibflow.runners.local.trial_folder import RECORD_VERSION
from katibflow.study.history import TrialState, trial_to_data
from tests.behaviour.runner_contract import Work, trial
from tests.doubles.local_lab import LocalLab, run
from tests.paths import ROOT


def test_a_trials_folder_holds_manifest_record_and_logs(lab: LocalLab) -> None:
    job = lab.job(7, Work(["loss=0.5"]))
    outcome, _ = run(lab, job)
    folder = lab.folder / "trials" / "0007"
    assert yaml.safe_load((folder / "manifest.yaml").read_text()) == job.manifest
    data = json.loads((folder / "record.json").read_text())
    assert data == {"version": RECORD_VERSION, **trial_to_data(job.trial)}
    assert outcome.logs == {"job-0": str(folder / "job-0.log")}
    assert (folder / "job-0.log").read_text() == "loss=0.5\n"


def test_leftovers_of_a_kill_are_passed_over(lab: LocalLab) -> None:
    runner = lab.runner()
    runner.record(trial(1))
    trials = lab.folder / "trials"
    (trials / "0000").mkdir()
    (trials / "0002").mkdir()
    (trials / "0002" / ".record.json.1.2.tmp").write_text('{"num')
    (trials / "notes").mkdir()
    (trials / "file").touch()
    assert runner.records() == (trial(1),)
    runner.sweep((), "over")
    outcome, watch = run(lab, lab.job(2, Work(["fresh"])))
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["fresh"]
    assert not list((trials / "0002").glob(".*"))


@pytest.mark.parametrize("name", ["job.json", "end.json", "job-0.pid", "job-0.exit"])
@pytest.mark.parametrize("content", ["", "{", "12", "[]", "\0\0\0"])
def test_torn_state_files_do_not_stop_a_trial(lab: LocalLab, name: str, content: str) -> None:
    state = lab.folder / "trials" / "0000" / "attempt-1"
    job = lab.job(0, Work(["loss=0.5"]))
    run(lab, job)
    (state / name).write_text(content)
    if name == "job-0.pid":
        (state / "job-0.exit").unlink()
    outcome, watch = run(lab, job)
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["loss=0.5"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"number": 0}', "\xff", json.dumps(trial_to_data(trial(5)))],
    ids=["empty", "torn", "list", "incomplete", "no UTF-8", "another trial's"],
)
def test_a_damaged_record_is_named_with_the_way_out(lab: LocalLab, content: str) -> None:
    runner = lab.runner()
    runner.record(trial(0))
    path = lab.folder / "trials" / "0000" / "record.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(RunnerError) as caught:
        runner.records()
    assert str(path) in str(caught.value)
    assert f"delete the folder {path.parent}" in str(caught.value)


def test_a_folder_that_cannot_be_written_is_an_error_of_the_runner(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    runner = LocalRunner(tmp_path / "file" / "run")
    with pytest.raises(RunnerError, match="file"):
        runner.record(trial(0, TrialState.COMPLETE))
    with pytest.raises(RunnerError, match="file"):
        run_lock = RunLock(tmp_path / "file" / "run")
        run_lock.__enter__()


def test_a_full_disk_is_an_error_of_the_runner(lab: LocalLab) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.doubles.local_lab import LocalLab, batch_job, run\n"
        "from katibflow.errors import RunnerError\n"
        "lab = LocalLab(Path(sys.argv[1]))\n"
        "lab.runner().record(batch_job(0, ['true']).trial)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "for job in batch_job(0, ['true']), batch_job(1, ['true']):\n"
        "    try: run(lab, job)\n"
        "    except RunnerError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(lab.folder.parent)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    first, second = done.stdout.splitlines()
    assert "File too large" in first
    assert "File too large" in second
    assert lab.runner().records() == (trial(0),)
