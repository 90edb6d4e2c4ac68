"""Runs as a real Kubeflow Pipelines 2.17 answered for them."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from typing import Any

import pytest

from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.client.base import Run
from katibflow.client.following import ending_of, steps_text
from tests.doubles.kfp.server import KfpServer
from tests.paths import RECORDED


def recorded(name: str) -> dict[str, Any]:
    data = gzip.decompress((RECORDED / "kfp" / f"run-{name}.json.gz").read_bytes())
    answer: dict[str, Any] = json.loads(data)
    return answer


def read(server: KfpServer, name: str, **changes: Any) -> Run:
    answer = recorded(name) | changes
    server.runs[answer["run_id"]] = answer
    return connect(Access(server.url)).run(answer["run_id"])


def test_a_failed_run_names_the_steps_that_failed_by_their_tasks(kfp_server: KfpServer) -> None:
    run = read(kfp_server, "wrong-parameters")
    assert ending_of(run, None).message == "the run is FAILED; failed steps: start, finish"


def test_each_step_is_there_once_for_each_time_that_it_runs(kfp_server: KfpServer) -> None:
    run = read(kfp_server, "rounds-2-trials")
    counts = Counter(step.name for step in run.steps)
    assert (counts["start"], counts["launcher"], counts["finish"]) == (1, 2, 1)
    assert not [name for name in counts if "(" in name or "onExit" in name or "kcfail-" in name]
    assert "executor" not in counts


@pytest.mark.parametrize(
    ("state", "has_jobs", "text"),
    [
        ("SUCCEEDED", True, "running: 2 trials ended, 0 running"),
        ("RUNNING", True, "running: 0 trials ended, 2 running"),
        ("RUNNING", False, "running: 0 trials ended, 0 running, 2 about to start"),
        (None, True, "running: 0 trials ended, 0 running, 2 about to start"),
    ],
)
def test_a_trial_runs_once_it_can_have_a_job(
    kfp_server: KfpServer, state: str | None, has_jobs: bool, text: str
) -> None:
    details = recorded("rounds-2-trials")["run_details"]
    for task in details["task_details"]:
        if task["display_name"].startswith("launcher"):
            task["state"] = state
    run = read(kfp_server, "rounds-2-trials", run_details=details, state="RUNNING")
    assert steps_text(run, has_jobs) == text
