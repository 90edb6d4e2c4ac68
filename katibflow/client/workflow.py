"""A run's Workflow, the object in which Argo keeps it: its size, its steps, and what went wrong.

Argo stores an object of up to 1 MiB: the JSON text of the whole of it, where ``status.nodes`` is
packed into ``status.compressedNodes`` (base64 of gzip) once the text is longer than that. Of an
object that is longer still it stores nothing, and the run stands still. Once nodes are packed,
Kubeflow Pipelines sees them no more, and its own details of the tasks stand still too.

Source: Argo's ``workflow/packer/packer.go`` and ``util/file/fileutil.go``.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from katibflow.client.base import Step
from katibflow.steps.capacity import OBJECT_LIMIT

__all__ = [
    "KFP_RUN",
    "NODE",
    "Failure",
    "StepPod",
    "Workflow",
    "read_pod",
    "read_workflow",
    "step_of",
]

KFP_RUN = "pipeline/runid"
"""Label with KFP's id of a run, on its Workflow and on its steps' pods."""

NODE = "workflows.argoproj.io/node-name"
"""Annotation of a step's pod with its node's name in full."""

_ATTEMPT = re.compile(r"\(\d+\)$")  # KFP 2.17 puts a Retry node around every step
_TASKS = ("driver", "executor", "importer")  # last words of the templates that steps have
_STATES = {"Error": "FAILED", "Omitted": "SKIPPED"}
_FAILED, _GOOD = ("Failed", "Error"), ("Succeeded", "Skipped", "Omitted")
_ESCAPED = re.compile("[<>&\u2028\u2029]")  # Go writes six characters for each
_INNER = "executor"  # the name of every step's own container

Nodes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Failure:
    """Where a run failed first, and Argo's words for it."""

    step: str
    message: str


@dataclass(frozen=True)
class Workflow:
    """What a Workflow object tells.

    Attributes:
        name: The object's.
        phase: Argo's word, as ``Running``.
        message: Why it is in that phase, in Argo's words; empty if it says nothing.
        size: Bytes as Argo counts them; with nodes that Argo has not packed yet, about as many as
            it will count when it has.
        limit: Bytes that it may have.
        changed: When a step last began or ended; with no step yet, when the object was made.
        steps: The steps and their drivers, as ``launcher`` and ``launcher-driver``; empty if the
            nodes cannot be read, as when Argo keeps them in a database.
        failures: What failed by itself, not because something inside of it did.
    """

    name: str
    phase: str
    message: str
    size: int
    limit: int
    changed: datetime
    steps: tuple[Step, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class StepPod:
    """A pod of a run's step.

    Attributes:
        step: The step's name.
        phase: The pod's, as ``Pending``.
        reason: Why it waits, in the kubelet's or the scheduler's word; empty if none is said.
    """

    step: str
    phase: str
    reason: str


def read_workflow(body: Mapping[str, Any], limit: int = OBJECT_LIMIT) -> Workflow:
    """What an object tells.

    Args:
        body: The Workflow.
        limit: Bytes that Argo stores.
    """
    metadata, status = body["metadata"], body.get("status") or {}
    nodes: Nodes = status.get("nodes") or _unpacked(status.get("compressedNodes") or "")
    times = [
        datetime.fromisoformat(node[key])
        for node in nodes.values()
        for key in ("startedAt", "finishedAt")
        if node.get(key)
    ]
    return Workflow(
        name=metadata["name"],
        phase=status.get("phase") or "Pending",
        message=_one_line(status.get("message")),
        size=_size(body),
        limit=limit,
        changed=max(times, default=datetime.fromisoformat(metadata["creationTimestamp"])),
        steps=tuple(_steps(nodes)),
        failures=tuple(dict.fromkeys(_failures(nodes))),
    )


def step_of(node: str) -> str:
    """The step that a node is of, by the node's name in full, as ``run(0).root(0).start(0)``."""
    *outer, last = [_ATTEMPT.sub("", part) for part in node.split(".")]
    return outer[-1] if last == _INNER and outer else last


def read_pod(body: Mapping[str, Any]) -> StepPod:
    """What the pod of a step tells."""
    status, metadata = body.get("status") or {}, body["metadata"]
    reasons = [
        (each.get("state") or {}).get("waiting", {}).get("reason", "")
        for kind in ("initContainerStatuses", "containerStatuses")
        for each in status.get(kind) or ()
    ]
    reasons += [
        each.get("reason", "")
        for each in status.get("conditions") or ()
        if each.get("type") == "PodScheduled" and each.get("status") == "False"
    ]
    name = (metadata.get("annotations") or {}).get(NODE) or metadata["name"]
    return StepPod(step_of(name), status.get("phase") or "Pending", next(filter(None, reasons), ""))


def _unpacked(text: str) -> Nodes:
    """The nodes that Argo packed; none if they cannot be unpacked (it knows other packings)."""
    try:
        nodes = json.loads(gzip.decompress(base64.b64decode(text))) if text else {}
    except (OSError, EOFError, ValueError, zlib.error):
        return {}
    return nodes if isinstance(nodes, dict) else {}


def _size(body: Mapping[str, Any]) -> int:
    """Bytes of the object, its nodes packed; Argo leaves ``managedFields`` out."""
    metadata = {key: body["metadata"][key] for key in body["metadata"] if key != "managedFields"}
    status = dict(body.get("status") or {})
    nodes = status.pop("nodes", None)
    if nodes:
        packed = base64.b64encode(gzip.compress(_text(nodes), 6, mtime=0))
        status["compressedNodes"] = packed.decode()
    return len(_text({**body, "metadata": metadata, "status": status}))


def _text(data: object) -> bytes:
    """JSON as Go writes it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode("utf-8", "replace")


def _steps(nodes: Nodes) -> Iterator[Step]:
    for node in nodes.values():
        is_task = node.get("templateName", "").rpartition("-")[2] in _TASKS
        is_attempt = bool((node.get("nodeFlag") or {}).get("retried"))
        if is_task and not is_attempt:
            phase = node.get("phase") or "Pending"
            yield Step(step_of(node["name"]), _STATES.get(phase, phase.upper()))


def _failures(nodes: Nodes) -> Iterator[Failure]:
    """Of each failed node none of whose children failed, its words; not of tries made good."""
    phases = {node["name"]: node.get("phase") for node in nodes.values()}
    failed = [node for node in nodes.values() if node.get("phase") in _FAILED]
    for node in sorted(failed, key=lambda node: node.get("finishedAt") or ""):
        failed_inside = any(
            nodes[child].get("phase") in _FAILED
            for child in node.get("children") or ()
            if child in nodes
        )
        made_good = any(phases.get(name) in _GOOD for name in _around(node["name"]))
        message = _one_line(node.get("message"))
        if message and not failed_inside and not made_good:
            yield Failure(step_of(node["name"]), message)


def _around(name: str) -> Iterator[str]:
    """The nodes of a node's own step that it is in, as ``b(0)`` and ``b`` of ``b(0).executor``."""
    step = step_of(name)
    while True:
        inner = _ATTEMPT.sub("", name)
        name = inner if inner != name else name.rpartition(".")[0]
        if not name or step_of(name) != step:
            return
        yield name


def _one_line(text: object) -> str:
    return " ".join(str(text or "").split())
