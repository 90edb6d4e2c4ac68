"""Trials as processes of this machine: the makespan of many short ones against the ideal.

    python benchmarks/bench_local.py [--trials 200] [--parallel 8] [--seconds 0.2]

The ideal is trials / parallel x (seconds + start of a process), where the start is what ``sleep``
itself takes over its argument, measured in the same run with as many at a time.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.table import Row, main
from katibflow.engine.events import TrialEnded, Update
from katibflow.engine.loop import run_experiment
from katibflow.runners.base import JobOutcome, TrialJob
from katibflow.runners.events import Event, Observer, Started
from katibflow.runners.local.runner import LocalRunner
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import History, TrialState
from katibflow.validation.rules import check_document

GROWING = 3000
"""Trials of the run whose first and last ones are compared."""

WINDOW = 500
"""Trials at its beginning and at its end."""


def document(trials: int, parallel: int, seconds: float) -> dict[str, object]:
    container = {
        "name": "main",
        "image": "busybox",
        "command": [
            "sh",
            "-c",
            f"{f'sleep {seconds}; ' if seconds else ''}echo loss=${{trialParameters.x}}",
        ],
    }
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "bench"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "parallelTrialCount": parallel,
            "maxTrialCount": trials,
            "parameters": [
                {
                    "name": "x",
                    "parameterType": "double",
                    "feasibleSpace": {"min": "0", "max": "1"},
                }
            ],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "spec": {"template": {"spec": {"containers": [container]}}},
                },
            },
        },
    }


def process_start(trials: int, parallel: int, seconds: float) -> float:
    """Seconds that a shell with ``sleep`` takes over the sleep itself, ``parallel`` at a time."""

    def one(_: int) -> float:
        begin = time.perf_counter()
        subprocess.run(["sh", "-c", f"sleep {seconds}; echo loss=1"], stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin - seconds

    with ThreadPoolExecutor(parallel) as pool:
        return sum(pool.map(one, range(trials))) / trials


class TimedRunner(LocalRunner):
    """Measures what a trial takes of its thread's CPU until its process has started."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.starts: list[float] = []

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        begin = time.thread_time()

        def timed(event: Event) -> None:
            if isinstance(event, Started):
                self.starts.append(time.thread_time() - begin)
            observe(event)

        return super().run(job, timed, stop)


def ended_at(trials: int, parallel: int) -> tuple[list[float], list[float]]:
    """Returns the seconds of CPU of this process at the end of each trial, and of each start."""
    ends: list[float] = []

    def watch(update: Update) -> None:
        if isinstance(update, TrialEnded):
            ends.append(time.process_time())

    experiment = check_document(document(trials, parallel, 0), "bench")
    with tempfile.TemporaryDirectory() as folder:
        runner = TimedRunner(Path(folder))
        history = History(experiment, "0a1b2c3d", 1)
        run_experiment(history, runner, watch=watch, stop=StopRequest())
        runner.close()
    return ends, runner.starts


def makespan(trials: int, parallel: int, seconds: float) -> float:
    """Returns the seconds that a run of that many trials takes."""
    experiment = check_document(document(trials, parallel, seconds), "bench")
    with tempfile.TemporaryDirectory() as folder:
        runner = LocalRunner(Path(folder))
        history = History(experiment, "0a1b2c3d", 1)
        begin = time.perf_counter()
        result = run_experiment(history, runner, watch=lambda update: None, stop=StopRequest())
        taken = time.perf_counter() - begin
        runner.close()
    complete = sum(trial.state is TrialState.COMPLETE for trial in result.history.trials)
    assert complete == trials, f"{complete} of {trials} trials are complete"
    return taken


def rows(trials: int = 200, parallel: int = 8, seconds: float = 0.2) -> Iterator[Row]:
    """Yields the makespan of short sleeps against the ideal one, our own time, and its growth."""
    # The sampler's library is loaded once, before the first trial, and is no trial's cost.
    import optuna  # noqa: F401

    start = process_start(trials, parallel, seconds)
    ideal = trials / parallel * (seconds + start)
    measured = f"{trials} x sleep {seconds:g}, {parallel} at a time / ideal schedule"
    yield Row("local: makespan", measured, makespan(trials, parallel, seconds) / ideal, "x", 1.06)
    ends, starts = ended_at(GROWING, parallel)
    first = (ends[2 * WINDOW] - ends[WINDOW]) / WINDOW * 1000
    last = (ends[-1] - ends[-1 - WINDOW]) / WINDOW * 1000
    measured = f"cost of a trial, the last of {GROWING} / after {WINDOW}"
    yield Row("local: growth", measured, last / first, "x", 1.3)
    measured = "own CPU until a trial's process has started, the median"
    yield Row("local: start of a trial", measured, median(starts) * 1000, "ms", 3.0)
    measured = "own CPU of a trial with all its records, its processes left out"
    yield Row("local: cost per trial", measured, last, "ms")


if __name__ == "__main__":
    main(__doc__, rows)
