"""The Kubernetes runner under the engine: overhead, requests and memory as trials grow.

    python benchmarks/bench_kubernetes.py [--trials 100 500] [--parallel 50] [--seconds 2]

Each trial is a PyTorchJob of a master and a worker whose pods run for that long. The API server is
the tests' double, a real HTTP server in a process of its own. Every size runs in a fresh process;
the ideal is trials / parallel x seconds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.doubles.kubernetes.lab import pod_template, pytorch_job
from tests.doubles.kubernetes.plays import JobPlay
from tests.doubles.kubernetes.server import ApiServer

MEMORY_TARGET = 200
LINES = 20


def serve(pipe: Connection, seconds: float) -> None:
    """Runs the API server; answers every message with the number of requests so far."""
    server = ApiServer()
    server.keep_requests = False

    def script(play: JobPlay) -> None:
        pods = play.pods()
        for pod in pods:
            pod.scheduled()
            pod.running()
        for number in range(LINES):
            time.sleep(seconds / LINES)
            pods[0].log(f"epoch={number} loss={1 / (number + 1):.4f}")
        for pod in pods:
            pod.exit()
        play.condition("Succeeded", "PyTorchJobSucceeded")

    server.script = script
    pipe.send(server.port)
    while pipe.recv():
        pipe.send(server.request_count)


def document(trials: int, parallel: int) -> dict[str, object]:
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
                {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}}
            ],
            "trialTemplate": {
                "primaryContainerName": "main",
                "trialParameters": [{"name": "x", "reference": "x"}],
                "trialSpec": pytorch_job(
                    pod_template(
                        {"name": "main", "image": "i", "args": ["--x=${trialParameters.x}"]}
                    )
                ),
            },
        },
    }


def run_one(trials: int, parallel: int, port: int) -> dict[str, float]:
    """Runs an experiment of that size in this process."""
    from katibflow.engine.loop import run_experiment
    from katibflow.runners.kubernetes.runner import KubernetesRunner, connect
    from katibflow.runners.stopping import StopRequest
    from katibflow.study.history import History, TrialState
    from katibflow.validation.rules import check_document

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        server = {"server": f"http://127.0.0.1:{port}"}
        context = {"cluster": "c", "user": "u", "namespace": "kubeflow"}
        path.write_text(
            json.dumps(
                {
                    "current-context": "x",
                    "clusters": [{"name": "c", "cluster": server}],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "x", "context": context}],
                }
            )
        )
        os.environ["KUBECONFIG"] = str(path)
        api = connect()
    experiment = check_document(document(trials, parallel), "bench")
    run = f"{trials:08x}"
    runner = KubernetesRunner(
        api, experiment="bench", run=run, template=experiment.spec.trial_template
    )
    history = History(experiment, run, 1)
    # The sampler's library is loaded once, before the first trial, and is no trial's cost.
    import optuna  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.perf_counter()
    result = run_experiment(history, runner, watch=lambda update: None, stop=StopRequest())
    makespan = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_SELF)
    runner.close()
    finished = result.history.trials
    assert all(len(trial.intermediate) == LINES for trial in finished), "lines were lost"
    assert sum(trial.state is TrialState.COMPLETE for trial in finished) == trials
    return {
        "makespan": makespan,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "memory": after.ru_maxrss / 1024,
        "imported": before.ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--parallel", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.port:
        print(json.dumps(run_one(given.trials[0], given.parallel, given.port)))
        return
    rows: list[dict[str, float]] = []
    for trials in given.trials:
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(theirs, given.seconds), daemon=True
        )
        process.start()
        port = ours.recv()
        command = [sys.executable, __file__, "--trials", str(trials), "--port", str(port)]
        command += ["--parallel", str(given.parallel), "--seconds", str(given.seconds)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        ours.send(True)
        row = json.loads(done.stdout)
        row |= {"trials": trials, "requests": ours.recv() / trials}
        row["ideal"] = trials / given.parallel * given.seconds
        row["overhead"] = (row["makespan"] - row["ideal"]) * given.parallel / trials
        rows.append(row)
        process.kill()
        process.join()
    print(f"{given.parallel} trials at a time, each of {given.seconds:g} s and {LINES} reports")
    print("trials  makespan/ideal  overhead/trial  CPU/trial  requests/trial  peak memory")
    for row in rows:
        print(
            f"{row['trials']:6.0f}  {row['makespan'] / row['ideal']:14.2f}  "
            f"{row['overhead']:13.3f}s  {row['cpu'] / row['trials'] * 1000:7.1f}ms  "
            f"{row['requests']:14.2f}  {row['memory']:8.0f} MB"
        )
    first, last = rows[0], rows[-1]
    growth = last["requests"] / first["requests"]
    print(f"requests/trial, {last['trials']} against {first['trials']} trials: {growth:.3f}")
    print(
        f"peak memory / target: {last['memory'] / MEMORY_TARGET:.2f} (at most 1; "
        f"{MEMORY_TARGET} MB, of which {last['imported']:.0f} are Python with the libraries)"
    )


if __name__ == "__main__":
    main()
