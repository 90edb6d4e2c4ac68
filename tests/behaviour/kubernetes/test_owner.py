"""A running trial's job belongs to the run's Workflow; a trial on record belongs to nobody."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from katibflow.engine.trial import now
from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.api import connect
from katibflow.runners.kubernetes.owner import POD, workflow_of_pod
from katibflow.study.history import TrialState
from tests.doubles.kubernetes.lab import Lab
from tests.doubles.kubernetes.server import NAMESPACE

OWNER = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "own", "uid": "u-1"}
WORKFLOWS = {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get"]}


def pod(owner: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "step", "namespace": NAMESPACE, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


@pytest.mark.parametrize(
    ("owner", "found"),
    [
        ({**OWNER, "controller": True}, OWNER),
        ({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u-2"}, None),
    ],
    ids=["a run's step", "a pod of something else"],
)
def test_a_step_finds_the_workflow_that_made_its_pod(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, owner: dict[str, Any], found: object
) -> None:
    lab.server.put("pods", pod(owner), "ADDED")
    monkeypatch.setenv("KUBECONFIG", str(lab.kubeconfig()))
    api = connect()
    assert workflow_of_pod(api) is None  # not in a pod of Kubeflow Pipelines
    monkeypatch.setenv(POD, "step")
    assert workflow_of_pod(api) == found


def test_a_job_is_owned_until_its_trial_is_on_record(lab: Lab) -> None:
    runner, job = lab.runner(owner=OWNER), lab.trial_job()
    lab.begin(runner=runner)[0].result()
    (reference,) = lab.object()["metadata"]["ownerReferences"]
    assert OWNER.items() <= reference.items()
    runner.record(job.trial)
    assert lab.object()["metadata"]["ownerReferences"]
    runner.record(replace(job.trial, state=TrialState.COMPLETE, end=now()))
    assert not lab.object()["metadata"].get("ownerReferences")


def test_no_record_is_made_anew_after_the_workflow_was_deleted(lab: Lab) -> None:
    lab.server.rules = [*(lab.server.rules or ()), WORKFLOWS]
    runner, job = lab.runner(owner=OWNER), lab.trial_job()
    lab.begin(runner=runner)[0].result()
    lab.server.delete("jobs", job.trial.job or "")
    with pytest.raises(RunnerError, match="Workflow own was deleted, and its jobs with it"):
        runner.record(replace(job.trial, state=TrialState.FAIL, end=now()))
    assert lab.server.objects["jobs"] == {}
