"""The Kubernetes runner under the engine: requests, watches, memory and starts, as trials grow.

    python benchmarks/bench_kubernetes.py [--trials 10000] [--parallel 200] [--seconds 2]

Each trial is a PyTorchJob of a master and a worker whose pods run for that long. The API server is
the tests' double, a real HTTP server in a process of its own, and so is the runner. While the large
experiment runs, the server again and again forgets all versions (410), answers 429 with
Retry-After, cuts a watch in the middle of a line and breaks every connection: no trial may be lost,
and no line. A small experiment, with which neither process is busy, measures the time from the end
of a job until the next one is created.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.table import Row, lines
from tests.doubles.kubernetes.lab import pod_template, pytorch_job
from tests.doubles.kubernetes.plays import JobPlay
from tests.doubles.kubernetes.server import ApiServer

LINES = 4
TROUBLE_EVERY = 500
"""Trials from one of the server's troubles to the next."""

WARM = 0.2
"""Share of the trials after which the runner's memory should not grow beside the history."""


@dataclass(frozen=True)
class Size:
    """An experiment: its trials, how many at a time, and the seconds that a trial's pods run."""

    trials: int
    parallel: int
    seconds: float
    has_trouble: bool = False


@dataclass(frozen=True)
class Measured:
    """What a run of an experiment took.

    Attributes:
        makespan: Seconds.
        cpu: Seconds of the runner's process.
        growth: Bytes of memory that the process took after the first part (`WARM`) of the trials.
        history: Bytes that the history took in that time.
        warm: Bytes of memory of the process after that part.
        requests: Requests of the whole run.
        watches: The most watches that were open at a time, of jobs and of pods.
        starts: Seconds from each job's end until the next job was created.
    """

    makespan: float
    cpu: float
    growth: float
    history: float
    warm: float
    requests: int
    watches: tuple[int, int]
    starts: list[float]


def serve(pipe: Connection, size: Size) -> None:
    """Runs the API server; at the first message it tells what it has seen."""
    server = ApiServer()
    server.keep_requests = False
    created: list[float] = []
    ended: list[float] = []

    def script(play: JobPlay) -> None:
        created.append(time.monotonic())
        if size.has_trouble and len(created) % TROUBLE_EVERY == 0:
            trouble(server, len(created) // TROUBLE_EVERY)
        pods = play.pods()
        for pod in pods:
            pod.scheduled()
            pod.running()
        for number in range(LINES):
            time.sleep(size.seconds / LINES)
            pods[0].log(f"epoch={number} loss={1 / (number + 1):.4f}")
        for pod in pods:
            pod.exit()
        ended.append(time.monotonic())
        play.condition("Succeeded", "PyTorchJobSucceeded")

    server.script = script
    pipe.send(server.port)
    pipe.recv()
    watches = server.most_watching["pytorchjobs"], server.most_watching["pods"]
    starts = sorted(created)[size.parallel :]
    waits = [start - end for start, end in zip(starts, sorted(ended), strict=False)]
    pipe.send((server.request_count, watches, waits))


def trouble(server: ApiServer, number: int) -> None:
    """Makes one of the troubles that an API server has."""
    match number % 4:
        case 0:
            server.compact()
        case 1:
            server.fail(lambda request: True, 429, times=50, headers={"Retry-After": "1"})
        case 2:
            server.cut_watch_lines = 2
        case 3:
            server.break_connections()


def document(size: Size) -> dict[str, object]:
    """Returns the Experiment."""
    space = {"min": "0", "max": "1"}
    container = {"name": "main", "image": "i", "args": ["--x=${trialParameters.x}"]}
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": "bench"},
        "spec": {
            "objective": {"type": "minimize", "objectiveMetricName": "loss"},
            "algorithm": {"algorithmName": "random"},
            "parallelTrialCount": size.parallel,
            "maxTrialCount": size.trials,
            "parameters": [{"name": "x", "parameterType": "double", "feasibleSpace": space}],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": pytorch_job(pod_template(container)),
            },
        },
    }


def run_here(size: Size, port: int) -> dict[str, Any]:
    """Runs the experiment in this process, and returns what it took."""
    import optuna  # noqa: F401 - loaded once, before the first trial, and no trial's cost
    import psutil

    from katibflow.engine.events import TrialEnded, Update
    from katibflow.engine.loop import run_experiment
    from katibflow.runners.kubernetes.runner import KubernetesRunner, connect
    from katibflow.runners.stopping import StopRequest
    from katibflow.study.history import History, TrialState
    from katibflow.validation.rules import check_document

    with tempfile.TemporaryDirectory() as folder:
        os.environ["KUBECONFIG"] = str(_kubeconfig(Path(folder), port))
        api = connect()
    experiment = check_document(document(size), "bench")
    runner = KubernetesRunner(
        api, experiment="bench", run="0a1b2c3d", template=experiment.spec.trial_template
    )
    process = psutil.Process()
    ended = 0
    warm = 0

    def watch(update: Update) -> None:
        nonlocal ended, warm
        if isinstance(update, TrialEnded):
            ended += 1
            if ended == int(WARM * size.trials):
                warm = process.memory_info().rss

    before, begin = process.cpu_times(), time.perf_counter()
    result = run_experiment(
        History(experiment, "0a1b2c3d", 1), runner, watch=watch, stop=StopRequest()
    )
    makespan, after = time.perf_counter() - begin, process.cpu_times()
    runner.close()
    finished = result.history.trials
    assert sum(trial.state is TrialState.COMPLETE for trial in finished) == size.trials
    assert all(len(trial.intermediate) == LINES for trial in finished), "lines were lost"
    end = process.memory_info().rss
    packed = pickle.dumps(tuple(finished))
    base = process.memory_info().rss
    copy = pickle.loads(packed)
    history = process.memory_info().rss - base
    del copy
    return {
        "makespan": makespan,
        "cpu": after.user + after.system - before.user - before.system,
        "growth": end - warm,
        "history": (1 - WARM) * history,
        "warm": warm,
    }


def _kubeconfig(folder: Path, port: int) -> Path:
    path = folder / "kubeconfig"
    server = {"server": f"http://127.0.0.1:{port}"}
    context = {"cluster": "c", "user": "u", "namespace": "kubeflow"}
    config = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": context}],
    }
    path.write_text(json.dumps(config))
    return path


def measure(size: Size) -> Measured:
    """Runs an experiment in a process of its own, and its API server in another."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(theirs, size), daemon=True
    )
    process.start()
    try:
        command = [sys.executable, __file__, "--port", str(ours.recv()), *_options(size)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        ours.send(None)
        requests, watches, starts = ours.recv()
    finally:
        process.kill()
        process.join()
    return Measured(**json.loads(done.stdout), requests=requests, watches=watches, starts=starts)


def _options(size: Size) -> list[str]:
    return [
        *("--trials", str(size.trials)),
        *("--parallel", str(size.parallel)),
        *("--seconds", str(size.seconds)),
    ]


def rows(size: Size = Size(10_000, 200, 2.0, True)) -> Iterator[Row]:
    """Yields what an experiment of that size takes, and how soon a next trial starts."""
    quiet = Size(60, 4, 1.0)
    starts = measure(quiet).starts
    how = f"{quiet.trials} jobs, {quiet.parallel} at a time"
    yield Row("start after another's end", f"{how}: the median", median(starts) * 1e3, "ms", 50)
    large = measure(size)
    how = f"{size.trials:,} jobs, {size.parallel} at a time, with faults"
    yield Row("API requests a trial", how, large.requests / size.trials, "", 6)
    yield Row("watches of jobs, and of pods", f"{how}: the most", max(large.watches), "", 1)
    grown = (large.warm + large.growth - large.history) / large.warm
    yield Row("memory beside the history", f"{how}: end to {WARM:.0%}", grown, "x", 1.1)
    yield Row("processor time a trial", f"{how}: the runner", large.cpu / size.trials * 1e3, "ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--parallel", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = Size(given.trials, given.parallel, given.seconds, True)
    if given.port:
        print(json.dumps(run_here(size, given.port)))
        return
    for line in lines(rows(size)):
        print(line, flush=True)


if __name__ == "__main__":
    main()
