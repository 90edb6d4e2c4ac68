"""Tests the local runner without anything that only Linux has, from `katibflow run` on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from katibflow.runners.base import JobState
from katibflow.runners.local.lock import LockWait, held, is_held
from katibflow.runners.local.members import Census
from katibflow.runners.local.ports import free_port, reserved
from katibflow.runners.local.runner import LocalRunner
from katibflow.runners.stopping import StopRequest
from tests.behaviour.runner_contract import PATIENCE, Watch, Work
from tests.doubles.local_lab import LocalLab, batch_job, run
from tests.paths import ROOT
from tests.shell_trials import document, processes_below, waits_for

FILE = {
    "spec.metricsCollectorSpec": {
        "collector": {"kind": "File"},
        "source": {"fileSystemPath": {"path": "/var/log/katib/m.log", "kind": "File"}},
    }
}


@pytest.fixture(params=["readable", "hidden"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> Mapping[str, str]:
    """Returns the environment of a process on such a system; others' are readable or hidden."""
    more = {} if request.param == "readable" else {"HIDE": "1"}
    place = Path(__file__).parent / "other_system"
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(place), str(ROOT)]),
        "TRIED": str(tmp_path / "tried"),
        **more,
    }


@contextmanager
def tool(folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "katibflow", "run", "experiment.yaml"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
    tried = folder / "tried"
    assert not tried.exists(), tried.read_text()


def write(folder: Path, script: str, changes: Mapping[str, Any]) -> None:
    (folder / "experiment.yaml").write_text(yaml.safe_dump(document(script, changes)))


def until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """Waits for what a trial of the tool does."""
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_taken_away_is_missed(environment: Mapping[str, str], tmp_path: Path) -> None:
    code = "import os, select, sys\nassert not hasattr(os, 'pidfd_open')\nopen(sys.argv[1])"
    for path in ("/proc/self/environ", "/proc/self/stat"):
        done = subprocess.run(
            [sys.executable, "-c", code, path], env=environment, capture_output=True, text=True
        )
        assert f"another system has no {path}" in done.stderr
    assert (tmp_path / "tried").read_text().splitlines() == [
        "/proc/self/environ",
        "/proc/self/stat",
    ]


@pytest.mark.parametrize(
    "changes",
    [pytest.param({}, marks=pytest.mark.long, id="output"), pytest.param(FILE, id="file")],
)
def test_a_killed_run_goes_on_and_no_trial_runs_twice(
    tmp_path: Path, environment: Mapping[str, str], changes: Mapping[str, Any]
) -> None:
    into = " >> /var/log/katib/m.log" if changes else ""
    script = (
        f"echo $KATIB_TRIAL_NAME >> {tmp_path}/ran; echo loss=$((X+1)){into}; "
        f"{waits_for(tmp_path / 'go')}; echo loss=$X{into}"
    )
    write(tmp_path, script, {"spec.parallelTrialCount": 2, "spec.maxTrialCount": 3, **changes})

    def begun() -> list[str]:
        path = tmp_path / "ran"
        return path.read_text().splitlines() if path.exists() else []

    with tool(tmp_path, environment) as first:
        until(first, lambda: len(begun()) == 2)
        with tool(tmp_path, environment) as second:
            said = second.communicate(timeout=60)[0]
        assert f"in use by process {first.pid}" in said
        assert second.returncode
        first.kill()
        first.wait()
    with tool(tmp_path, environment) as third:
        (tmp_path / "go").touch()
        out = third.communicate(timeout=120)[0]
    assert third.returncode == 0, out
    assert "3 trials ended" in out
    assert len(begun()) == len(set(begun())) == 3
    assert processes_below(tmp_path) == []


def test_a_signal_ends_a_run_with_all_that_it_started(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    # One child in a session of its own, without marks: it has the log, or its parent.
    child = f"import os; os.setsid(); open('{tmp_path}/child', 'w').write(str(os.getpid())); "
    script = (
        f'env -i {sys.executable} -c "{child} import time; time.sleep(600)" & '
        f"{waits_for(tmp_path / 'child')}; echo loss=1; wait"
    )
    write(tmp_path, script, {"spec.parallelTrialCount": 1, "spec.maxTrialCount": 1})
    with tool(tmp_path, environment) as process:
        until(process, (tmp_path / "child").exists)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGINT
    assert processes_below(tmp_path) == []
    assert not is_running(int((tmp_path / "child").read_text()))


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the environments of all other processes."""

    def denied(self: psutil.Process) -> dict[str, str]:
        raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil.Process, "environ", denied)


DETACH = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    os.dup2(1, 2)
    open(sys.argv[1], "w").write(str(os.getpid()))
    time.sleep(600)
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
"""


@pytest.mark.usefixtures("hidden")
class TestHiddenEnvironments:
    """Tests what is known of processes whose environments cannot be read."""

    def test_a_process_in_another_session_is_found_by_the_log_that_it_holds(
        self, lab: LocalLab, tmp_path: Path
    ) -> None:
        note = tmp_path / "pid"
        outcome, _ = run(lab, batch_job(0, [sys.executable, "-c", DETACH, str(note)]))
        assert outcome.state is JobState.SUCCEEDED
        assert not is_running(int(note.read_text()))

    def test_a_process_is_found_whose_number_another_one_had_before(self, tmp_path: Path) -> None:
        log = tmp_path / "job-0.log"
        with held(log) as descriptor:
            process = subprocess.Popen(
                ["sleep", "600"], pass_fds=(descriptor,), start_new_session=True
            )
        try:
            # As psutil does when it finds that a process it knows is gone and another has its pid.
            assert process.pid in {each.pid for each in psutil.process_iter()}
            psutil._pids_reused.add(process.pid)
            assert [each.pid for each in Census().find(tmp_path)] == [process.pid]
        finally:
            process.kill()
            process.wait()

    def test_a_process_that_holds_nothing_is_found_by_its_parent(
        self, lab: LocalLab, tmp_path: Path
    ) -> None:
        code = (
            "import subprocess, sys, time\n"
            "child = subprocess.Popen(['sleep', '600'], start_new_session=True, stdin=-3,"
            " stdout=-3, stderr=-3)\n"
            "print(child.pid, flush=True)\n"
            "time.sleep(600)"
        )
        watch, stop = Watch(), StopRequest()
        with ThreadPoolExecutor() as pool:
            job = batch_job(0, [sys.executable, "-c", code])
            future = pool.submit(lab.runner().run, job, watch, stop)
            watch.wait_for(lambda: bool(watch.lines))
            stop.set("seen")
            assert future.result(PATIENCE).state is JobState.STOPPED
        assert not is_running(int(watch.lines[0]))

    def test_what_a_killed_shell_leaves_is_ended(self, lab: LocalLab) -> None:
        watch = Watch()
        with ThreadPoolExecutor() as pool:
            script = "echo $PPID; exec > /dev/null 2>&1; sleep 600"
            job = batch_job(0, ["sh", "-c", script])
            future = pool.submit(lab.runner().run, job, watch, StopRequest())
            watch.wait_for(lambda: bool(watch.lines))
            shell = psutil.Process(int(watch.lines[0]))
            (command,) = shell.children()
            shell.kill()
            outcome = future.result(PATIENCE)
        assert "SIGKILL" in outcome.message
        assert not is_running(command.pid)

    def test_a_sweep_finds_them(self, lab: LocalLab) -> None:
        job = lab.job(0, Work(["first"], held=True))
        runner = lab.runner()
        watch = Watch()
        with ThreadPoolExecutor() as pool:
            future = pool.submit(runner.run, job, watch, StopRequest())
            watch.wait_for_line("first")
            lab.runner().sweep((), "over")
            assert future.result(PATIENCE).state is JobState.STOPPED
        log = lab.folder / "trials" / "0000" / "job-0.log"
        assert not is_held(log)


def test_a_log_is_complete_once_nobody_holds_its_lock(lab: LocalLab) -> None:
    job = batch_job(0, ["sh", "-c", "(sleep 0.3; echo last) & echo first"])
    log = lab.folder / "trials" / "0000" / "job-0.log"
    watch = Watch()
    with ThreadPoolExecutor() as pool:
        held: list[bool] = []

        def observe(event: object) -> None:
            held.append(is_held(log))
            watch(event)  # type: ignore[arg-type]

        pool.submit(lab.runner().run, job, observe, StopRequest()).result(PATIENCE)
    assert held[0]
    LockWait(log)()
    assert not is_held(log)


def test_a_run_is_the_same_by_whatever_path_it_is_reached(lab: LocalLab, tmp_path: Path) -> None:
    """As /tmp on macOS, which is a link."""
    link = tmp_path / "link"
    link.symlink_to(lab.folder.parent)
    job = lab.job(0, Work(["first"], held=True))
    watch, stop = Watch(), StopRequest()
    with ThreadPoolExecutor() as pool:
        future = pool.submit(LocalRunner(link / "run").run, job, watch, stop)
        watch.wait_for_line("first")
        assert lab.is_alive(0)
        lab.runner().sweep((), "over")
        assert future.result(PATIENCE).state is JobState.STOPPED


def test_a_port_is_kept_from_other_trials_until_its_holder_is_gone() -> None:
    code = (
        "import sys; from katibflow.runners.local.ports import free_port\n"
        "with free_port() as port: print(port, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with reserved(port) as is_ours:
            assert not is_ours
        process.kill()
        process.wait()
        with reserved(port) as is_ours:
            assert is_ours
    with free_port() as one, free_port() as other:
        assert one != other


def test_no_module_of_the_local_path_names_what_linux_alone_has() -> None:
    names = re.compile(r"inotify|eventfd|pidfd|epoll|prctl|[\"']/proc|/bin/true")
    found = [
        f"{path}: {line.strip()}"
        for folder in ("runners/local", "engine", "runs", "progress", "storage", "cli")
        for path in sorted((ROOT / "katibflow" / folder).rglob("*.py"))
        if path.name != "daemons.py"  # what it does on Linux, it leaves out elsewhere
        for line in path.read_text().splitlines()
        if names.search(line)
    ]
    assert found == []
