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
    [
        ({"a": 1}, True),
        ({}, True),
        ([{"a": 1}], True),
        ([{"a": 1}, "x"], True),
        ([], False),
        ("x", False),
        # Katib's controller stops at each of these with an error, again and again.
        ([1], False),
        (["x", {"a": 1}], False),
        ([None], False),
        ([[{}]], False),
        (None, False),
    ],
)
def test_an_object_or_an_array_that_begins_with_one_is_a_match(
    value: object, matches: bool
) -> None:
    end = Conditions("status.value", "status.none").end({"status": {"value": value}})
    assert (end is not None) is matches


SPARK = {"status": {"applicationState": {"state": "COMPLETED"}}}
WORKERS = {"status": {"replicaStatuses": {"Worker": {"succeeded": 1, "failed": 0}}}}
DONE = job(("Complete", "True", "R"))


@pytest.mark.parametrize(
    ("expression", "body"),
    [
        ('status.[@this].#(applicationState.state=="COMPLETED")#', SPARK),
        ("[@this].#(status.replicaStatuses.Worker.succeeded==1)", WORKERS),
        ("status.[@this].#(replicaStatuses.Worker.succeeded>=1)", WORKERS),
        ("status.[@this]|#(replicaStatuses.Worker.failed==0)", WORKERS),
        ("status.conditions.#(type==Complete)#|#(status==True)#", DONE),
        ('status.conditions.#[type=="Complete"]#|#[status=="True"]#', DONE),
        ('status.conditions.#(type=="Complete")', DONE),
        ('status.conditions.#(type%"Com*")#|#(status!="False")#', DONE),
        ("status.conditions.#(status==~true)#", DONE),
    ],
)
def test_what_gjson_has_for_a_condition_is_a_match(expression: str, body: Any) -> None:
    end = Conditions(expression, "status.none").end(body)
    assert end is not None and end.state is JobState.SUCCEEDED
    failed = Conditions("status.none", expression).end(body)
    assert failed is not None and failed.state is JobState.FAILED
    assert Conditions(expression, "status.none").end({"status": {"conditions": []}}) is None


@pytest.mark.parametrize("body", [{"status": {"conditions": each}} for each in (None, ["x"], "x")])
def test_what_is_no_list_of_conditions_is_no_match(body: dict[str, Any]) -> None:
    assert BATCH.end(body) is None


def test_a_reason_that_is_no_text_is_shown_as_it_is() -> None:
    end = BATCH.end({"status": {"conditions": [{"type": "Failed", "status": "True", "reason": 3}]}})
    assert end and (end.reason, end.message) == ("3", "")


@pytest.mark.parametrize(
    "expression", ["", "status.conditions.#(type==", "status..x", "status.@nope", "a b!#("]
)
def test_what_is_no_gjson_is_refused_at_once(expression: str) -> None:
    with pytest.raises(InputError, match="allowed: a GJSON expression"):
        Conditions(expression, "status.failed")
    with pytest.raises(InputError, match="allowed: a GJSON expression"):
        Conditions("status.done", expression)


@pytest.mark.parametrize(
    ("status", "path"),
    [
        ({}, "a.b"),
        ({"a": [{"x": 1}]}, "a.#(x==2)"),
        ({}, "x*"),
        ({"a": None}, "a.#(x==1)"),
        ({"a": {}}, "a.#(x==1)"),
        ({"a": []}, "a.0"),
        ({"a": {}}, "a.#"),
        ({"a": [1]}, "a.x*"),
        ({"a": "text"}, "a.0"),
    ],
)
def test_a_path_that_leads_nowhere_is_no_fault_of_the_expression(status: object, path: str) -> None:
    assert Conditions(f"status.{path}", "status.none").end({"status": status}) is None
