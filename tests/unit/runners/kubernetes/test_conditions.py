"""Tests the conditions by which a job object has ended."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.errors import InputError
from katibflow.experiment.job_kinds import KINDS
from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.conditions import Conditions


def conditions_of(kind: str) -> Conditions:
    (found,) = (entry for entry in KINDS.values() if entry.kind == kind)
    assert found.success_condition and found.failure_condition
    return Conditions(found.success_condition, found.failure_condition)


def job(*conditions: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "status": {
            "conditions": [
                {"type": kind, "status": status, "reason": reason, "message": f"the {reason}"}
                for kind, status, reason in conditions
            ]
        }
    }


CREATED = ("Created", "True", "PyTorchJobCreated")
PYTORCH = conditions_of("PyTorchJob")
BATCH = conditions_of("Job")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": {}},
        {"status": {"conditions": []}},
        job(CREATED),
        job(CREATED, ("Running", "True", "PyTorchJobRunning")),
        job(CREATED, ("Succeeded", "False", "NotYet"), ("Failed", "Unknown", "NotYet")),
    ],
)
def test_a_job_without_an_end_goes_on(body: dict[str, Any]) -> None:
    assert PYTORCH.end(body) is None


def test_success_comes_with_reason_and_message() -> None:
    end = PYTORCH.end(job(CREATED, ("Running", "False", "R"), ("Succeeded", "True", "Done")))
    assert end and (end.state, end.reason, end.message) == (
        JobState.SUCCEEDED,
        "Done",
        "the Done",
    )


def test_failure_is_tested_before_success() -> None:
    end = PYTORCH.end(job(("Succeeded", "True", "Done"), ("Failed", "True", "Broken")))
    assert end and (end.state, end.reason) == (JobState.FAILED, "Broken")


def test_a_batch_job_of_kubernetes_1_31_and_later() -> None:
    end = BATCH.end(job(("SuccessCriteriaMet", "True", "CompletionsReached")))
    assert end is None
    end = BATCH.end(
        job(("SuccessCriteriaMet", "True", "C"), ("Complete", "True", "CompletionsReached"))
    )
    assert end and end.reason == "CompletionsReached"
    end = BATCH.end(job(("FailureTarget", "True", "F"), ("Failed", "True", "DeadlineExceeded")))
    assert end and (end.state, end.reason) == (JobState.FAILED, "DeadlineExceeded")


@pytest.mark.parametrize("phase", ["Failed", "Error"])
def test_a_workflow_that_failed(phase: str) -> None:
    end = conditions_of("Workflow").end({"status": {"phase": phase, "message": "child failed"}})
    assert end and (end.state, end.message) == (JobState.FAILED, "child failed")


@pytest.mark.parametrize("status", [{}, {"phase": ""}, {"phase": "Pending"}, {"phase": "Running"}])
def test_a_workflow_that_goes_on(status: dict[str, str]) -> None:
    assert conditions_of("Workflow").end({"status": status}) is None


@pytest.mark.parametrize(
    ("job", "deployment", "state"),
    [
        (None, None, None),
        (None, "Initializing", None),
        ("PENDING", "Running", None),
        ("RUNNING", "Running", None),
        # it is over for Ray; KubeRay still waits for the pod that submitted it
        ("SUCCEEDED", "Running", None),
        ("FAILED", "Running", None),
        (None, "Waiting", None),
        (None, "Suspending", None),
        (None, "Suspended", None),
        # a failed try, with tries left by backoffLimit
        ("FAILED", "Retrying", None),
        ("SUCCEEDED", "Complete", JobState.SUCCEEDED),
        ("FAILED", "Failed", JobState.FAILED),
        ("RUNNING", "Failed", JobState.FAILED),
        ("STOPPED", "Complete", JobState.FAILED),
        # KubeRay before 1.2
        ("FAILED", "Complete", JobState.FAILED),
        (None, "ValidationFailed", JobState.FAILED),
    ],
)
def test_a_ray_job(job: str | None, deployment: str | None, state: JobState | None) -> None:
    given = {"jobStatus": job, "jobDeploymentStatus": deployment}
    status = {key: value for key, value in given.items() if value is not None}
    end = conditions_of("RayJob").end({"status": {**status, "reason": "R", "message": "why"}})
    assert (end and end.state) == state
    assert end is None or (end.reason, end.message) == ("R", "why")


@pytest.mark.parametrize(
    ("value", "matches"),
    [({"a": 1}, True), ({}, True), ([{"a": 1}], True), ([1], True), ([], False), ("x", False)],
)
def test_an_object_or_an_array_with_something_in_it_is_a_match(
    value: object, matches: bool
) -> None:
    end = Conditions("status.value", "status.none").end({"status": {"value": value}})
    assert (end is not None) is matches


@pytest.mark.parametrize(
    "expression", ["", "status.conditions.#(type==", "status..x", "status.@nope", "a b!#("]
)
def test_what_is_no_gjson_is_refused_at_once(expression: str) -> None:
    with pytest.raises(InputError, match="allowed: a GJSON expression"):
        Conditions(expression, "status.failed").end({"status": {"conditions": []}})


@pytest.mark.parametrize(
    ("status", "path"),
    [
        ({}, "a.b"),
        ({"a": [{"x": 1}]}, "a.#(x==2)"),
        ({}, "x*"),
        ({"a": {}}, "a.#(x==1)"),
        ({"a": []}, "a.0"),
        ({"a": {}}, "a.#"),
        ({"a": [1]}, "a.x*"),
        ({"a": "text"}, "a.0"),
    ],
)
def test_a_path_that_leads_nowhere_is_no_fault_of_the_expression(status: object, path: str) -> None:
    """Each is another sentence of gjson's, of which the reader of conditions has to know."""
    assert Conditions(f"status.{path}", "status.none").end({"status": status}) is None
