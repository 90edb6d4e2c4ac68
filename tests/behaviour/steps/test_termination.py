"""A run that is terminated: the steps that follow trials end them, and keep what there is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from queue import SimpleQueue

import pytest

from katibflow.runners.stopping import StopKind, StopRequest
from katibflow.steps import controller, launcher, start, suggestion
from katibflow.steps.files import Artifact, read_study
from katibflow.steps.termination import STOPPED, kill_command, stopped_with_its_run
from katibflow.study.history import TrialState
from katibflow.study.interruption import taken_up_again
from katibflow.study.reasons import TrialReason
from tests.shell_trials import ROOM, document, outputs, processes_below


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KATIBFLOW_RUNNER", "local")
    monkeypatch.setenv("KATIBFLOW_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def asked_once_it_runs(folder: Path, layout: str, study: Artifact) -> StopRequest:
    """Begins a run whose trials tell when they run, and then wait; asks the first one to end."""
    pipe, stop = folder / "pipe", StopRequest()
    os.mkfifo(pipe)

    def ask() -> None:
        pipe.read_text(encoding="utf-8")
        stop.set(STOPPED, StopKind.SIGNAL, signal.SIGUSR1)

    counts = {"parallelTrialCount": "1", "maxTrialCount": "4"}
    script = f"echo begun; echo begun > {pipe}; exec sleep 600"
    start(json.dumps(document(script)), counts, layout, "the-run", "", ROOM, study)
    threading.Thread(target=ask).start()
    return stop


def test_the_controller_ends_its_trials_and_keeps_study_and_logs(
    tmp_path: Path, runs: Path
) -> None:
    study, logs = outputs(tmp_path, "study", "logs")
    stop = asked_once_it_runs(tmp_path, "controller", study)
    assert controller(study.path, study, logs, stop) == f"PipelineRunStopped: {STOPPED}"
    assert processes_below(runs) == []
    (trial,) = read_study(study.path).trials
    assert (trial.state, trial.reason) == (TrialState.KILLED, TrialReason.INTERRUPTED)
    assert trial.message == STOPPED
    assert trial.start is not None and trial.end is not None and trial.start <= trial.end
    assert (Path(logs.path) / "0000.log").read_text(encoding="utf-8").startswith("begun\n")
    (again,) = taken_up_again([trial])  # as after a Retry
    assert (again.state, again.end) == (TrialState.RUNNING, None)


def test_a_launcher_ends_its_trial(tmp_path: Path, runs: Path) -> None:
    study, log = outputs(tmp_path, "study", "log")
    stop = asked_once_it_runs(tmp_path, "rounds", study)
    (item,) = suggestion(study.path)
    assert launcher(study.path, item, log, stop) == "0 KILLED TrialInterrupted"
    assert processes_below(runs) == []
    assert log.text.startswith("begun\n")


def test_argo_s_command_asks_the_step_once_and_ends_nothing_else(tmp_path: Path) -> None:
    seen: SimpleQueue[None] = SimpleQueue()
    told = [word.replace("%d", "15") for word in kill_command(str(tmp_path))]
    before = signal.getsignal(signal.SIGUSR1)
    try:
        with stopped_with_its_run(str(tmp_path)) as stop:
            stop.subscribe(lambda: seen.put(None))
            subprocess.run(told, check=True)
            seen.get(timeout=60)
        assert stop.reason is not None and stop.reason.text == STOPPED
        subprocess.run(told, check=True)  # the step writes its report
        os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        assert signal.alarm(0) > 0, "nothing bounds the step's end"
        signal.signal(signal.SIGUSR1, before)


def test_outside_of_argo_nobody_asks(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with stopped_with_its_run(str(tmp_path / "absent")) as stop:
        assert signal.getsignal(signal.SIGUSR1) is before
    assert stop.reason is None
