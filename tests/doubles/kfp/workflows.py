"""Workflow objects as a real Argo left them, at any time and of any size."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from katibflow.client.workflow import NODE, read_workflow
from katibflow.runners.kubernetes.owner import KFP_RUN
from tests.doubles.kubernetes.lab import Lab
from tests.paths import RECORDED

FOLDER = RECORDED
ENDED, STUCK = "workflow-rounds-2-trials", "workflow-rounds-18-trials-stuck"
FULL = 1_035_211
"""Bytes of the stuck run's object; its recording has less, as long texts were cut."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@cache
def _recorded(name: str) -> str:
    return gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()).decode()


def recorded(name: str) -> dict[str, Any]:
    """An object as it was recorded: its nodes are not packed."""
    body: dict[str, Any] = json.loads(_recorded(name))
    return body


def aged(body: dict[str, Any], seconds: float, now: datetime | None = None) -> dict[str, Any]:
    """The same object, in which a step changed last so many seconds ago."""
    wanted = (now or datetime.now(UTC)) - timedelta(seconds=seconds)
    shift = wanted - read_workflow(body).changed

    def moved(match: re.Match[str]) -> str:
        return f"{datetime.fromisoformat(match[0]) + shift:%Y-%m-%dT%H:%M:%SZ}"

    made: dict[str, Any] = json.loads(_TIME.sub(moved, json.dumps(body)))
    return made


def packed(body: dict[str, Any]) -> dict[str, Any]:
    """The same object with its nodes packed, as Argo stores a large one."""
    made = copy.deepcopy(body)
    nodes = json.dumps(made["status"].pop("nodes"), separators=(",", ":"))
    text = base64.b64encode(gzip.compress(nodes.encode(), 6, mtime=0)).decode()
    made["status"]["compressedNodes"] = text
    return made


def sized(body: dict[str, Any], size: int) -> dict[str, Any]:
    """The same object, padded to so many bytes."""
    made = copy.deepcopy(body)
    made["metadata"]["resourceVersion"] = "100"  # as long as those that the double gives
    made["metadata"]["annotations"]["pad"] = ""
    made["metadata"]["annotations"]["pad"] = "x" * (size - read_workflow(made).size)
    return made


def put_workflow(cluster: Lab, run_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Makes it the one Workflow of a run, last written when a step changed last."""
    written = f"{read_workflow(body).changed:%Y-%m-%dT%H:%M:%SZ}"
    made = copy.deepcopy(body)
    metadata = made["metadata"]
    metadata["labels"][KFP_RUN] = run_id
    metadata["managedFields"] = [
        {"manager": "workflow-controller", "time": written, "fieldsV1": {"f:status": {}}},
        {"manager": "other", "time": "2100-01-01T00:00:00Z", "fieldsV1": {"f:metadata": {}}},
    ]
    for name, other in list(cluster.server.objects["workflows"].items()):
        if other["metadata"]["labels"][KFP_RUN] == run_id and name != metadata["name"]:
            cluster.server.delete("workflows", name)
    return cluster.server.put("workflows", made)


def put_step_pod(cluster: Lab, run_id: str, step: str, phase: str, waiting: str = "") -> None:
    """The pod of a step."""
    status: dict[str, Any] = {"phase": phase}
    if waiting:
        status["containerStatuses"] = [{"name": "main", "state": {"waiting": {"reason": waiting}}}]
    body = {
        "metadata": {
            "name": f"pod-{step}",
            "labels": {KFP_RUN: run_id},
            "annotations": {NODE: f"wf(0).root(0).{step}(0).executor(0)"},
        },
        "spec": {"containers": [{"name": "main"}]},
        "status": status,
    }
    cluster.server.put("pods", body)
