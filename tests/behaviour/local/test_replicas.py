"""Tests how the replicas of a job run together, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from katibflow.errors import RunnerError
from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState
from katibflow.runners.events import Notice
from katibflow.runners.local.ending import KILL_GRACE
from katibflow.runners.local.members import marked
from katibflow.runners.local.paths import PathMap
from katibflow.runners.stopping import StopRequest
from tests.behaviour.runner_contract import PATIENCE, Watch
from tests.doubles.local_lab import LocalLab, batch_job, log_of, pytorch_job, run

SHOW_ENVIRONMENT = [
    "python3",
    "-c",
    "import json, os; print(json.dumps({**os.environ, 'CWD': os.getcwd()}))",
]
FOREVER = ["sleep", "1000"]


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def test_every_replica_has_its_environment(lab: LocalLab) -> None:
    env = [{"name": "OWN", "value": "rank $(RANK)"}, {"name": "RANK", "value": "7"}]
    job = pytorch_job(0, SHOW_ENVIRONMENT, SHOW_ENVIRONMENT, workers=2, env=env)
    outcome, _ = run(lab, job)
    assert outcome.state is JobState.SUCCEEDED
    seen = {name: json.loads(log_of(outcome, name)) for name in outcome.logs}
    assert list(seen) == ["master-0", "worker-0", "worker-1"]
    for rank, values in enumerate(seen.values()):
        assert values["RANK"] == values["PET_NODE_RANK"] == str(rank)
        assert values["WORLD_SIZE"] == "3"
        assert values["LOCAL_RANK"] == "0"
        assert values["MASTER_ADDR"] == "127.0.0.1"
        assert values["PYTHONUNBUFFERED"] == "1"
        assert values["KATIB_TRIAL_NAME"] == "contract-0a1b2c3d-0"
        assert values["OWN"] == f"rank {rank}"
        assert values["CWD"] == str(lab.folder / "trials" / "0000")
        assert values["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
        assert values["HOME"] == os.environ["HOME"]
    assert len({values["MASTER_PORT"] for values in seen.values()}) == 1


def test_python3_is_the_interpreter_of_the_tool(lab: LocalLab) -> None:
    outcome, _ = run(lab, batch_job(0, ["python3", "-c", "import sys; print(sys.prefix)"]))
    assert log_of(outcome, "job-0").strip() == sys.prefix


def test_no_two_trials_at_once_have_the_same_port(lab: LocalLab) -> None:
    runner, stop = lab.runner(), StopRequest()
    watches = [Watch() for _ in range(8)]
    command = shell("echo $MASTER_PORT; exec sleep 1000")
    with ThreadPoolExecutor(8) as pool:
        for number, watch in enumerate(watches):
            pool.submit(runner.run, pytorch_job(number, command), watch, stop)
        for watch in watches:
            watch.wait_for(lambda watch=watch: bool(watch.lines))
        stop.set("seen enough")
    assert len({watch.lines[0] for watch in watches}) == 8


def test_container_paths_are_mapped_everywhere(lab: LocalLab, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.mkdir()
    (image / "show.sh").write_text('echo "$(pwd) $DATA $1 $2"')
    job = batch_job(
        0,
        ["sh", "/opt/x/show.sh"],
        args=["--data=$(DATA)", "/opt/x-other"],
        env=[{"name": "DATA", "value": "/opt/x/data"}],
        workingDir="/opt/x",
    )
    outcome, _ = run(lab, job, [PathMap("/opt/x", image)])
    assert log_of(outcome, "job-0") == f"{image} {image}/data --data={image}/data /opt/x-other\n"


def test_a_failing_worker_ends_the_trial_while_the_master_runs(lab: LocalLab) -> None:
    worker = shell("for n in 1 2 3 4 5 6 7 8 9 10 11; do echo line $n; done; exit 9")
    outcome, _ = run(lab, pytorch_job(0, shell("echo master; sleep 1000"), worker))
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "ReplicaFailed")
    assert outcome.message.startswith("worker-0 failed with exit code 9")
    assert "line 11" in outcome.message
    assert "line 1\n" not in outcome.message
    assert "master" not in outcome.message


def test_a_killed_replica_is_named_with_its_signal(lab: LocalLab) -> None:
    outcome, _ = run(lab, pytorch_job(0, FOREVER, shell("kill -KILL $$$$")))
    assert outcome.message.startswith(
        "worker-0 ended by SIGKILL (exit code 137; probably out of memory)"
    )


def test_a_replica_whose_shell_is_killed_has_failed(lab: LocalLab) -> None:
    watch = Watch()
    with ThreadPoolExecutor() as pool:
        job = batch_job(0, shell("echo $PPID; sleep 1000"))
        future = pool.submit(lab.runner().run, job, watch, StopRequest())
        watch.wait_for(lambda: bool(watch.lines))
        os.kill(int(watch.lines[0]), signal.SIGKILL)
        outcome = future.result(PATIENCE)
    assert outcome.reason == "ReplicaFailed"
    assert "SIGKILL" in outcome.message


def test_the_masters_success_ends_the_job_and_workers_get_a_grace(
    lab: LocalLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("katibflow.runners.local.follower.STRAGGLER_GRACE", 0.3)
    begin = time.monotonic()
    outcome, watch = run(lab, pytorch_job(0, shell("echo done"), FOREVER))
    assert outcome.state is JobState.SUCCEEDED
    assert 0.3 <= time.monotonic() - begin < 5
    assert any(isinstance(e, Notice) and "worker-0" in e.text for e in watch.events)
    outcome, watch = run(lab, pytorch_job(1, shell("echo done"), shell("sleep 0.1; exit 1")))
    assert outcome.state is JobState.SUCCEEDED
    assert not any(isinstance(event, Notice) for event in watch.events)


def test_workers_alone_must_all_succeed(lab: LocalLab) -> None:
    script = shell('sleep "0.$RANK"; echo $RANK of $WORLD_SIZE; exit $((RANK == 1))')
    outcome, watch = run(lab, pytorch_job(0, None, script, workers=2))
    assert outcome.message.startswith("worker-1 failed with exit code 1")
    assert watch.lines == ["0 of 2"]
    outcome, watch = run(lab, pytorch_job(1, None, shell("echo $RANK"), workers=2))
    assert outcome.state is JobState.SUCCEEDED


def test_a_batch_job_honours_completions_and_parallelism(lab: LocalLab, tmp_path: Path) -> None:
    script = (
        f"echo b >> {tmp_path}/n; echo $JOB_COMPLETION_INDEX; sleep 0.1; echo e >> {tmp_path}/n"
    )
    spec = {"completions": 4, "parallelism": 2, "completionMode": "Indexed"}
    outcome, watch = run(lab, batch_job(0, shell(script), spec=spec))
    assert outcome.state is JobState.SUCCEEDED
    assert [log_of(outcome, f"job-{n}") for n in range(4)] == ["0\n", "1\n", "2\n", "3\n"]
    assert watch.lines == ["0"]
    running = most = 0
    for mark in (tmp_path / "n").read_text().split():
        running += 1 if mark == "b" else -1
        most = max(most, running)
    assert (most, running) == (2, 0)


def test_a_worker_that_never_connects_is_named(lab: LocalLab) -> None:
    listen = (
        "import os, socket, time\n"
        "s = socket.create_server(('', int(os.environ['MASTER_PORT']))); print('listens')\n"
        "time.sleep(1000)\n"
    )
    connect = (
        "import os, socket, time\n"
        "if os.environ['RANK'] == '2': print('no way'); time.sleep(1000)\n"
        "while True:\n"
        "    try: s = socket.create_connection(('127.0.0.1', int(os.environ['MASTER_PORT'])))\n"
        "    except OSError: continue\n"
        "    time.sleep(1000)\n"
    )
    job = pytorch_job(
        0,
        ["python3", "-c", listen],
        ["python3", "-c", connect],
        Limits(start=2.0),
        workers=2,
    )
    outcome, _ = run(lab, job)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "ReplicaNeverConnected")
    assert outcome.message.startswith("worker-1 has not connected to master-0")
    assert "2 s" in outcome.message
    assert "no way" in outcome.message


def test_nobody_is_blamed_when_nobody_listens(lab: LocalLab) -> None:
    command = shell("sleep 0.6; echo done")
    outcome, _ = run(lab, pytorch_job(0, command, command, Limits(start=0.1)))
    assert outcome.state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("command", "more", "said"),
    [
        (["no-such-program"], {}, "'no-such-program' is no program"),
        (["/etc/passwd"], {}, "'/etc/passwd' is no program"),
        (["true"], {"workingDir": "/no/such/folder"}, "no folder /no/such/folder"),
        (["echo", "a\0b"], {}, "null byte"),
        (["echo", "x" * 3_000_000], {}, "too long"),
    ],
)
def test_what_cannot_be_started_is_a_failed_trial(
    lab: LocalLab, command: list[str], more: dict[str, str], said: str
) -> None:
    outcome, _ = run(lab, batch_job(0, command, **more))
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "StartFailed")
    assert said in outcome.message


def test_a_shell_word_is_not_run_as_a_command(lab: LocalLab) -> None:
    outcome, _ = run(lab, batch_job(0, ["exit", "0"]))
    assert outcome.reason == "StartFailed"


def test_a_manifest_of_another_kind_is_refused(lab: LocalLab) -> None:
    job = batch_job(0, ["true"])
    other = {**job.manifest, "kind": "CronJob"}
    with pytest.raises(RunnerError, match="CronJob"):
        run(lab, type(job)(job.trial, other, None))
    assert lab.runner().records() == ()


# Forks twice, with a new session in between, and closes what it inherited: a daemon.
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 3)
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(1000)
    os._exit(0)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
"""


@pytest.mark.parametrize("clean", [False, True], ids=["marked", "without environment"])
def test_a_daemon_of_a_replica_does_not_outlive_the_trial(
    lab: LocalLab, tmp_path: Path, clean: bool
) -> None:
    note = tmp_path / "pid"
    if clean:
        command = shell(f"env -i sleep 1000 & echo $! > {note}")
    else:
        command = ["python3", "-c", DAEMON, str(note)]
    outcome, _ = run(lab, batch_job(0, command))
    assert outcome.state is JobState.SUCCEEDED
    pid = int(note.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_what_ignores_the_stop_is_killed(lab: LocalLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("katibflow.runners.local.follower.KILL_GRACE", 0.3)
    watch, stop = Watch(), StopRequest()
    with ThreadPoolExecutor() as pool:
        job = batch_job(0, shell("trap '' TERM; echo ready; while :; do sleep 1; done"))
        future = pool.submit(lab.runner().run, job, watch, stop)
        watch.wait_for_line("ready")
        stop.set("enough")
        assert future.result(PATIENCE).state is JobState.STOPPED
    assert not lab.is_alive(0)


def test_a_stop_lets_the_command_end_by_itself(lab: LocalLab) -> None:
    watch, stop = Watch(), StopRequest()
    with ThreadPoolExecutor() as pool:
        script = "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
        future = pool.submit(lab.runner().run, batch_job(0, shell(script)), watch, stop)
        watch.wait_for_line("ready")
        stop.set("enough")
        assert future.result(PATIENCE).state is JobState.STOPPED
    assert watch.lines[-1] == "saved"


def test_a_stranger_under_a_noted_pid_is_left_alone(lab: LocalLab) -> None:
    job = batch_job(0, shell("echo $PPID; sleep 1000"))
    watch, stop = Watch(), StopRequest()
    with ThreadPoolExecutor() as pool, subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            future = pool.submit(lab.runner().run, job, watch, stop)
            watch.wait_for(lambda: bool(watch.lines))
            os.kill(int(watch.lines[0]), signal.SIGKILL)
            future.result(PATIENCE)
            (attempt,) = (lab.folder / "trials" / "0000").glob("attempt-*")
            (attempt / "end.json").unlink()
            (attempt / "job-0.pid").write_text(f"{stranger.pid}\n")
            lab.runner().sweep((), "over")
            future = pool.submit(lab.runner().run, job, watch, stop)
            watch.wait_for(lambda: len(watch.lines) > 1)
            stop.set("over")
            assert future.result(PATIENCE).state is JobState.STOPPED
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_an_observer_that_fails_leaves_nothing_behind(lab: LocalLab) -> None:
    def observe(_: object) -> None:
        raise ZeroDivisionError

    for _ in range(8):  # The stop comes right at the start, where a shell may drop it.
        begin = time.monotonic()
        with pytest.raises(ZeroDivisionError):
            lab.runner().run(batch_job(0, FOREVER), observe, StopRequest())
        assert not marked(lab.folder)
        assert time.monotonic() - begin < KILL_GRACE
    # It counts as stopped, so the next run begins anew and does not report a failure.
    stop = StopRequest()
    stop.set("seen")
    assert lab.runner().run(batch_job(0, FOREVER), Watch(), stop).state is JobState.STOPPED
