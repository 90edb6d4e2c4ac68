"""Tests that the next process goes on with the trials of one that was killed by SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from katibflow.errors import RunBusy
from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import LogLine, Notice
from katibflow.runners.local.host import Host
from katibflow.runners.local.lock import LockWait, RunLock
from katibflow.runners.local.manifest import command_of, plan_job
from katibflow.runners.local.members import marked
from katibflow.runners.local.processes import TAKEN, start
from katibflow.runners.local.trial_folder import TrialFolder
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import trial_to_data
from tests.behaviour.runner_contract import PATIENCE, Watch, Work
from tests.doubles.local_lab import LocalLab, pytorch_job, run
from tests.paths import ROOT


@contextmanager
def driver(lab: LocalLab, job: TrialJob) -> Iterator[subprocess.Popen[str]]:
    data = {
        "trial": trial_to_data(job.trial),
        "manifest": job.manifest,
        "limit": job.limits.trial,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.behaviour.local.driver", str(lab.folder), json.dumps(data)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the driver ended without printing {text}")


def kill_after(lab: LocalLab, job: TrialJob, text: str) -> None:
    with driver(lab, job) as process:
        read_until(process, text)
        process.kill()


def end_of(lab: LocalLab, number: int) -> None:
    """Waits until no process of the trial is left."""
    folder = lab.folder / "trials" / f"{number:04d}"
    for log in folder.glob("*.log"):
        LockWait(log)()
    # A process closes its files, and with them the lock, a moment before it is gone.
    for pid in marked(folder):
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(PATIENCE)


def test_a_running_job_is_adopted_and_observed_from_its_first_line(lab: LocalLab) -> None:
    job = lab.job(0, Work(["first"], held=True, last_lines=["last"]))
    kill_after(lab, job, "first")
    assert lab.is_alive(0)
    seen: list[str] = []

    def observe(event: object) -> None:
        if isinstance(event, Notice):
            seen.append("notice")
        if isinstance(event, LogLine):
            seen.append(event.text)
            if event.text == "first":
                lab.release(0)

    outcome = lab.runner().run(job, observe, StopRequest())
    assert outcome.state is JobState.SUCCEEDED
    assert seen == ["notice", "first", "last"]
    assert lab.executions(0) == 1


@pytest.mark.parametrize("exit_code", [0, 4])
def test_a_job_that_ended_meanwhile_gives_its_outcome(lab: LocalLab, exit_code: int) -> None:
    job = lab.job(0, Work(["first"], exit_code, held=True, last_lines=["last"]))
    kill_after(lab, job, "first")
    lab.release(0)
    end_of(lab, 0)
    lab.runner().sweep((), "stopped, though nothing runs any more")
    outcome, watch = run(lab, job)
    assert outcome.state is (JobState.FAILED if exit_code else JobState.SUCCEEDED)
    assert not exit_code or "exit code 4" in outcome.message
    assert watch.lines == ["first", "last"]
    assert lab.executions(0) == 1


def test_an_adopted_job_that_is_killed_has_failed(lab: LocalLab) -> None:
    job = pytorch_job(0, ["sleep", "1000"], ["sleep", "1000"])
    kill_after(lab, job, "Started")

    def observe(event: object) -> None:
        if isinstance(event, Notice):
            for pid in marked(lab.folder):
                os.kill(pid, signal.SIGKILL)

    outcome = lab.runner().run(job, observe, StopRequest())
    assert outcome.reason == "ReplicaFailed"


def test_a_job_of_which_nothing_is_left_is_run_anew(lab: LocalLab) -> None:
    job = lab.job(0, Work(["first"], held=True))
    kill_after(lab, job, "first")
    for pid in marked(lab.folder):
        os.kill(pid, signal.SIGKILL)
    end_of(lab, 0)
    watch = Watch()

    def observe(event: object) -> None:
        watch(event)  # type: ignore[arg-type]
        if event == LogLine("first"):
            lab.release(0)

    outcome = lab.runner().run(job, observe, StopRequest())
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["first"]
    assert lab.executions(0) == 2
    kept = lab.folder / "trials" / "0000" / "job-0.attempt-1.log"
    assert kept.read_text() == "first\n"


def test_the_limit_counts_from_the_first_start(lab: LocalLab) -> None:
    limits = Limits(trial=1.0)
    begin = time.monotonic()
    kill_after(lab, lab.job(0, Work(["first"], held=True), limits), "first")
    outcome, watch = run(lab, lab.job(0, Work(["first"], held=True), limits))
    assert outcome.reason == "TrialTimedOut"
    assert time.monotonic() - begin < 5
    assert watch.lines[0] == "first"
    # The verdict stays, though the replica's exit code came after it.
    assert run(lab, lab.job(0, Work(["first"], held=True), limits))[0] == outcome


@pytest.mark.parametrize("milliseconds", [0, 2, 4, 6, 8, 10, 13, 16, 20, 30, 60, 150])
def test_a_trial_is_executed_once_whenever_the_tool_is_killed(
    lab: LocalLab, milliseconds: int
) -> None:
    script = f"echo begun >> {lab.notes}/count-0; echo first; sleep 0.1; echo last"
    job = pytorch_job(0, ["sh", "-c", script], ["sleep", "0.1"])
    with driver(lab, job) as process:
        read_until(process, "begun")
        time.sleep(milliseconds / 1000)  # Any moment will do: that is the point.
        process.kill()
    outcome, watch = run(lab, job)
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["first", "last"]
    assert lab.executions(0) == 1


@pytest.mark.parametrize("by", ["a later tool", "the job's end"])
def test_a_shell_that_comes_too_late_runs_nothing(lab: LocalLab, by: str) -> None:
    job = lab.job(0, Work())
    folder = TrialFolder(lab.folder / "trials" / "0000", 0)
    folder.write_record(job.trial)
    attempt = folder.new_attempt("late", job.manifest, 1)
    base = attempt.base("job-0")
    if by == "a later tool":
        assert attempt.void("job-0")
        assert attempt.base("job-0") == f"{base}.again-1"
    else:
        attempt.write_end(JobOutcome(JobState.STOPPED))
    (replica,) = plan_job(job.manifest, "late", 1).replicas
    command = command_of(replica, Host(), folder.path, {})
    process = start(command, "/bin/sh", base, folder.log("job-0"))
    ended = threading.Event()
    process.on_end(ended.set)
    assert ended.wait(PATIENCE)
    assert process.exit_code() == TAKEN
    process.close()
    assert lab.executions(0) == 0


def test_a_replica_that_had_not_begun_is_started_by_the_next_tool(lab: LocalLab) -> None:
    script = ["sh", "-c", f"echo begun >> {lab.notes}/$RANK; echo ok; read -r _ < {lab.notes}/gate"]
    os.mkfifo(lab.notes / "gate")
    job = pytorch_job(0, script, [*script[:2], f"echo begun >> {lab.notes}/$RANK"])
    kill_after(lab, job, "ok")
    (attempt,) = (lab.folder / "trials" / "0000").glob("attempt-*")
    for pid, (_, replica) in marked(lab.folder).items():
        if replica == "worker-0":
            os.kill(pid, signal.SIGKILL)
    (attempt / "worker-0.exit").unlink(missing_ok=True)
    (attempt / "worker-0.pid").write_text("")
    (lab.notes / "1").unlink(missing_ok=True)
    seen: list[object] = []

    def observe(event: object) -> None:
        seen.append(event)
        if event == LogLine("ok"):
            (lab.notes / "gate").write_text("go\n")

    assert lab.runner().run(job, observe, StopRequest()).state is JobState.SUCCEEDED
    assert (lab.notes / "0").read_text() == (lab.notes / "1").read_text() == "begun\n"


def test_a_log_goes_on_after_the_tool_was_killed(lab: LocalLab) -> None:
    job = lab.job(0, Work(["first"], held=True, last_lines=["x" * 100_000]))
    kill_after(lab, job, "first")
    lab.release(0)
    end_of(lab, 0)
    log = lab.folder / "trials" / "0000" / "job-0.log"
    assert log.read_text() == "first\n" + "x" * 100_000 + "\n"


def test_a_sweep_ends_what_a_killed_tool_left(lab: LocalLab) -> None:
    jobs = [lab.job(number, Work(["first"], held=True)) for number in range(3)]
    for job in jobs:
        kill_after(lab, job, "first")
    lab.runner().sweep({1}, "not wanted any more")
    assert [lab.is_alive(number) for number in range(3)] == [False, True, False]
    # What was swept counts as stopped: it is created anew.
    stop = StopRequest()
    stop.set("seen")
    assert lab.runner().run(jobs[0], Watch(), stop).state is JobState.STOPPED
    lab.runner().sweep((), "over")
    assert not lab.is_alive(1)


def test_a_living_tool_finds_its_swept_trial_stopped(lab: LocalLab) -> None:
    with driver(lab, lab.job(0, Work(["first"], held=True))) as process:
        read_until(process, "first")
        lab.runner().sweep((), "the pipeline run is over")
        read_until(process, "STOPPED")


def test_two_tools_do_not_run_one_trial(lab: LocalLab) -> None:
    job = lab.job(0, Work(["first"], held=True))
    with driver(lab, job) as process:
        read_until(process, "first")
        with pytest.raises(RunBusy, match=f"process {process.pid}"):
            run(lab, job)
        lab.release(0)
        read_until(process, "SUCCEEDED")
    assert lab.executions(0) == 1


def test_a_run_folder_belongs_to_one_process_until_that_is_gone(lab: LocalLab) -> None:
    code = (
        "import sys; from pathlib import Path; from katibflow.runners.local.runner import RunLock\n"
        "with RunLock(Path(sys.argv[1])): print('locked', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(lab.folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as process:
        read_until(process, "locked")
        with pytest.raises(RunBusy, match=f"in use by process {process.pid}"):
            RunLock(lab.folder).__enter__()
        process.kill()
        process.wait()
        with RunLock(lab.folder), pytest.raises(RunBusy, match=str(os.getpid())):
            RunLock(lab.folder).__enter__()
    with RunLock(lab.folder):
        pass


def test_a_job_of_another_run_is_not_adopted(lab: LocalLab) -> None:
    kill_after(lab, lab.job(0, Work(["old"], held=True)), "old")
    outcome, watch = run(lab, lab.job(0, Work(["new"])))
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["new"]
    assert not lab.is_alive(0)
