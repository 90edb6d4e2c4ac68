"""Submitted, run and followed to the end: the uploaded file is run, its jobs are in a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from katibflow.study.resume import run_name
from tests.doubles.kfp.engine import local_engine
from tests.doubles.kfp.lab import experiment_file, katibflow
from tests.doubles.kfp.server import KfpServer
from tests.doubles.kubernetes.lab import Lab
from tests.doubles.kubernetes.plays import JobPlay

IMAGE = ("--image", "python:katibflow")


def trains(play: JobPlay) -> None:
    """The loss is 0.x."""
    (pod,) = play.pods()
    assignments = json.loads(play.body["metadata"]["annotations"]["katibflow/assignments"])
    pod.running()
    pod.log(f"loss=0.{int(assignments['x']):02}")
    pod.exit()
    play.condition("Complete", "CompletionsReached")


@pytest.mark.parametrize("layout", ["controller", pytest.param("rounds", marks=pytest.mark.long)])
def test_a_submitted_experiment_is_run_and_its_best_trial_found(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path, layout: str
) -> None:
    cluster.server.script = trains
    kfp_server.script = local_engine(tmp_path, cluster.kubeconfig())
    file = experiment_file(tmp_path)
    words = ("--max-trials", "4", "--parallel", "2", "--poll", "0.3", "--layout", layout)
    done = katibflow("submit", str(file), "--host", kfp_server.url, *IMAGE, *words)
    (run,) = kfp_server.runs.values()
    run_id = run["run_id"]
    assert done.code == 0, done.err + (tmp_path / run_id / "log").read_text(encoding="utf-8")
    assert "ExperimentMaxTrialsReached: 4 trials ended, maxTrialCount is 4" in done.out
    jobs = cluster.server.objects["jobs"].values()
    assert {job["metadata"]["labels"]["katibflow/run"] for job in jobs} == {run_name(run_id)}
    values = sorted(
        int(json.loads(job["metadata"]["annotations"]["katibflow/assignments"])["x"])
        for job in jobs
    )
    assert len(values) == 4
    assert katibflow("best", run_id, "--host", kfp_server.url).out == f"x={values[0]}\n"
    for number in range(4):
        assert f"trial {number} started: x=" in done.out
        assert f"trial {number} complete" in done.out
    steps = [task["display_name"] for task in run["run_details"]["task_details"]]
    assert steps.count("launcher") == (4 if layout == "rounds" else 0)
    assert ("report" in steps) == (layout == "rounds")
