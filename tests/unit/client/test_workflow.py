"""What a Workflow object tells, seen on recorded ones."""

from __future__ import annotations

import base64
import copy
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from katibflow.client.workflow import (
    Failure,
    StepPod,
    Workflow,
    read_pod,
    read_workflow,
    step_of,
)
from katibflow.steps.capacity import OBJECT_LIMIT
from tests.doubles.kfp.workflows import ENDED, FULL, STUCK, packed, recorded, sized


def counted(workflow: Workflow, *names: str) -> Counter[tuple[str, str]]:
    return Counter((step.name, step.state) for step in workflow.steps if step.name in names)


def test_a_run_that_ended_has_its_steps_and_when_the_last_one_ended() -> None:
    found = read_workflow(recorded(ENDED))
    assert (found.name, found.phase, found.message) == ("ptj-tt2qz", "Succeeded", "")
    assert found.changed == datetime(2026, 11, 28, 14, 37, 15, tzinfo=UTC)
    assert {step.state for step in found.steps} == {"SUCCEEDED"}
    assert counted(found, "start", "suggestion", "launcher", "loop", "report", "finish") == {
        ("start", "SUCCEEDED"): 1,
        ("suggestion", "SUCCEEDED"): 1,
        ("launcher", "SUCCEEDED"): 2,
        ("loop", "SUCCEEDED"): 1,
        ("report", "SUCCEEDED"): 1,
        ("finish", "SUCCEEDED"): 1,
    }
    assert found.failures == ()


def test_a_run_that_is_stuck_has_the_steps_of_all_its_rounds() -> None:
    found = read_workflow(recorded(STUCK))
    assert found.phase == "Running"
    assert found.changed == datetime(2026, 11, 28, 14, 53, 44, tzinfo=UTC)
    assert counted(found, "launcher", "launcher-driver", "collector", "executor", "round") == {
        ("launcher", "SUCCEEDED"): 15,
        ("launcher-driver", "SUCCEEDED"): 15,
        ("launcher-driver", "RUNNING"): 3,
        ("collector", "SUCCEEDED"): 5,
    }


@pytest.mark.parametrize("name", [ENDED, STUCK])
def test_packed_nodes_tell_the_same_as_others(name: str) -> None:
    body = recorded(name)
    assert read_workflow(packed(body)) == read_workflow(body)


def test_the_size_is_that_of_the_packed_object_without_what_argo_leaves_out() -> None:
    body = packed(recorded(STUCK))
    size = len(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())
    escaped = sum(json.dumps(body, ensure_ascii=False).count(letter) for letter in "<>&")
    found = read_workflow(body)
    assert (found.size, found.limit) == (size + 5 * escaped, OBJECT_LIMIT)
    body["metadata"]["managedFields"] = [{"manager": "x" * 1000}]
    assert read_workflow(body).size == found.size
    assert read_workflow(sized(body, FULL)).size == FULL
    assert read_workflow(body, limit=2 * OBJECT_LIMIT).limit == 2 * OBJECT_LIMIT


@pytest.mark.parametrize(
    "text", ["", "no base64", base64.b64encode(b"zstd, say").decode(), "H4sIAAAAAAAA"]
)
def test_nodes_that_cannot_be_unpacked_leave_the_steps_unknown(text: str) -> None:
    body = recorded(STUCK)
    del body["status"]["nodes"]
    body["status"]["compressedNodes"] = text
    found = read_workflow(body)
    assert found.steps == ()
    assert found.changed == datetime.fromisoformat(body["metadata"]["creationTimestamp"])


def test_a_workflow_that_nobody_has_looked_at_is_pending() -> None:
    body = recorded(ENDED)
    del body["status"]
    found = read_workflow(body)
    assert (found.phase, found.message, found.steps, found.failures) == ("Pending", "", (), ())


def failed(*nodes: tuple[str, str, str]) -> dict[str, Any]:
    """The recorded run with nodes, by the ends of their names, that have failed with a message."""
    body = copy.deepcopy(recorded(ENDED))
    for end, phase, message in nodes:
        (node,) = (n for n in body["status"]["nodes"].values() if n["name"].endswith(end))
        node.update(phase=phase, message=message)
    return body


def test_what_failed_by_itself_is_told_and_not_what_it_is_in() -> None:
    exit_code = "Error (exit code 1): ImportError:\n no module named optuna"
    found = read_workflow(
        failed(
            (".round(0).collector(0).executor(0)", "Failed", exit_code),
            (".round(0).collector(0).executor", "Failed", "No more retries left"),
            (".round(0).collector(0)", "Failed", "child 'ptj-tt2qz-1' failed"),
            (".round(0).collector", "Error", "No more retries left"),
        )
    )
    assert found.failures == (
        Failure("collector", "Error (exit code 1): ImportError: no module named optuna"),
    )
    assert counted(found, "collector", "loop") == {
        ("collector", "FAILED"): 1,
        ("loop", "SUCCEEDED"): 1,
    }


def test_a_try_that_failed_is_no_failure_when_the_next_one_was_good() -> None:
    first_try = (".round(0).collector(0).executor(0)", "Failed", "pod deleted")
    assert read_workflow(failed(first_try)).failures == ()


@pytest.mark.parametrize(
    ("node", "step"),
    [
        ("wf(0).root(0).exit-handler-1(0).start(0).executor(0)", "start"),
        ("wf.root.exit-handler-1.controller.executor(1)", "controller"),
        ("wf(0).root(0).iteration-iterations(0:0)(0).launcher-driver(2)", "launcher-driver"),
        ("wf(0).root(0).round", "round"),
        ("executor", "executor"),
    ],
)
def test_a_node_s_name_tells_its_step(node: str, step: str) -> None:
    assert step_of(node) == step


def test_a_pod_that_waits_tells_why() -> None:
    metadata = {
        "name": "wf-1",
        "annotations": {"workflows.argoproj.io/node-name": "wf(0).root(0).start(0).executor(0)"},
    }
    assert read_pod({"metadata": metadata}) == StepPod("start", "Pending", "")
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    status: dict[str, Any] = {"phase": "Pending", "conditions": [scheduled]}
    assert read_pod({"metadata": metadata, "status": status}).reason == "Unschedulable"
    waiting = {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    status = {"phase": "Pending", "containerStatuses": [waiting]}
    assert read_pod({"metadata": metadata, "status": status}).reason == "ImagePullBackOff"


def test_the_steps_of_a_workflow_for_argo_alone_are_its_tasks() -> None:
    found = read_workflow(recorded("argo/rounds-2-of-2"))
    assert [each.name for each in found.steps[:3]] == ["start", "suggestion", "launcher"]
    assert Counter((each.name, each.state) for each in found.steps) == {
        ("start", "SUCCEEDED"): 1,
        ("suggestion", "SUCCEEDED"): 2,
        ("launcher", "SUCCEEDED"): 4,
        ("decision", "SUCCEEDED"): 2,
        ("finish", "SUCCEEDED"): 1,
    }
    assert found.failures == ()
