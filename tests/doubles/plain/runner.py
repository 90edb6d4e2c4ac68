"""Runs trials as bare subprocesses, and keeps their records as lines of a file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import LogLine, Observer, Started
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial, time_text, trial_from_data, trial_to_data

__all__ = ["PlainRunner"]


class PlainRunner:
    """A `runners.base.Runner` without adoption: a trial that ran when it died is run anew.

    Args:
        folder: Folder of the records.
        workers: Number of trials at a time.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._records = folder / "plain.jsonl"
        self._workers = threading.Semaphore(workers)
        self._running: dict[int, StopRequest] = {}

    def records(self) -> Sequence[Trial]:
        """Returns the trial on the last line of each number."""
        if not self._records.exists():
            return ()
        lines = self._records.read_text(encoding="utf-8").splitlines()
        last = {trial.number: trial for trial in map(trial_from_data, map(json.loads, lines))}
        return tuple(last[number] for number in sorted(last))

    def record(self, trial: Trial) -> None:
        """Appends a line to the file."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._records.open("a", encoding="utf-8") as file:
            file.write(json.dumps(trial_to_data(trial)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Runs the command of the first container to its end."""
        self.record(job.trial)
        inner = self._running[job.trial.number] = StopRequest()
        unsubscribe = stop.pass_on(inner)
        try:
            with self._workers:
                return self._run(job, observe, inner)
        finally:
            unsubscribe()
            del self._running[job.trial.number]

    def _run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        if stop.reason is not None:
            return JobOutcome(JobState.STOPPED, "Stopped", stop.reason.text)
        (container,) = job.manifest["spec"]["template"]["spec"]["containers"]
        given = {entry["name"]: entry["value"] for entry in container.get("env") or ()}
        process = subprocess.Popen(
            [*container["command"], *(container.get("args") or ())],
            env={**os.environ, **given},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        pid = self._folder / f"{job.trial.number}.pid"
        pid.write_text(str(process.pid))
        unsubscribe = stop.subscribe(lambda: os.killpg(process.pid, signal.SIGKILL))
        try:
            time = time_text(datetime.now(UTC))
            self.record(job.trial.started(time))
            observe(Started(time))
            with process:
                assert process.stdout is not None
                for line in process.stdout:
                    observe(LogLine(line.rstrip("\n")))
        finally:
            unsubscribe()
            pid.unlink()
        if stop.reason is not None:
            return JobOutcome(JobState.STOPPED, "Stopped", stop.reason.text)
        if process.returncode:
            return JobOutcome(JobState.FAILED, "ExitCode", f"exit code {process.returncode}")
        return JobOutcome(JobState.SUCCEEDED)

    def sweep(self, keep: Collection[int], reason: str) -> None:
        """Asks its own trials to stop."""
        for number, stop in list(self._running.items()):
            if number not in keep:
                stop.set(reason)

    def close(self) -> None:
        """Does nothing, as it holds nothing."""
