"""Reads a Workflow, Argo's object of a run: its size, its steps, and why steps failed.

Requests to the Kubernetes API are in `workflow_reader`.

Argo stores an object whose JSON text has at most 1 MiB; of a longer one it packs ``status.nodes``
into ``status.compressedNodes`` (base64 of gzip). If the text is still longer, Argo stores nothing,
and the run stalls. Kubeflow Pipelines cannot read packed nodes, so its own record of the tasks no
longer changes then.

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
from katibflow.client.tasks import is_frame
from katibflow.compiler.argo.objects import LAYOUT_LABEL
from katibflow.runners.kubernetes.owner import KFP_RUN
from katibflow.steps.capacity import OBJECT_LIMIT

__all__ = [
    "NODE",
    "WORKFLOW",
    "Failure",
    "StepNode",
    "StepPod",
    "Workflow",
    "read_pod",
    "read_workflow",
    "step_of",
    "step_of_pod",
]

WORKFLOW = "workflows.argoproj.io/workflow"
"""Label with the Workflow's name, on all pods of its steps."""

NODE = "workflows.argoproj.io/node-name"
"""Annotation of a step's pod with the full name of its node."""

_OWN = re.compile(r"\.executor(\(\d+\))?$")  # in KFP, the node of a step's own container

_ATTEMPT = re.compile(r"\(\d+\)$")  # KFP 2.17 puts a Retry node around every step
_TASKS = ("driver", "executor", "importer")  # last words of the templates that steps have
_STATES = {"Error": "FAILED", "Omitted": "SKIPPED"}
_FAILED, _GOOD = ("Failed", "Error"), ("Succeeded", "Skipped", "Omitted")
_ESCAPED = re.compile("[<>&\u2028\u2029]")  # Go writes six characters for each
_LONGEST = 242  # of a pod's name before the hash
_INNER = "executor"  # the name of every step's own container

Nodes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Failure:
    """A step that failed by itself.

    Attributes:
        step: The step's name.
        message: Why it failed, in Argo's words.
    """

    step: str
    message: str


@dataclass(frozen=True)
class StepNode:
    """A step's own container, in one attempt.

    Attributes:
        step: The step's name.
        state: KFP's RuntimeState, as ``RUNNING``.
        node: The name of Argo's node.
        pod: The pod's name.
    """

    step: str
    state: str
    node: str
    pod: str


@dataclass(frozen=True)
class Workflow:
    """What katibflow reads from a Workflow object.

    Attributes:
        name: The object's name.
        phase: Argo's word for the state, as ``Running``.
        message: Why it is in that phase, in Argo's words; "" if Argo does not say.
        size: The size in bytes as Argo counts it. Nodes that are not packed yet count as packed,
            so the number is then close to what Argo will count.
        limit: The greatest size in bytes that Argo stores.
        changed: When a step last began or ended; with no step yet, when the object was made.
        steps: The steps and their drivers, as ``launcher`` and ``launcher-driver``; empty if the
            nodes cannot be read, as when Argo keeps them in a database.
        nodes: The steps' own containers, the first to begin first; empty like the steps.
        failures: The steps that failed by themselves, not because a step inside them did.
    """

    name: str
    phase: str
    message: str
    size: int
    limit: int
    changed: datetime
    steps: tuple[Step, ...]
    failures: tuple[Failure, ...]
    nodes: tuple[StepNode, ...] = ()


@dataclass(frozen=True)
class StepPod:
    """A pod of a run's step.

    Attributes:
        step: The step's name.
        phase: The pod's phase, as ``Pending``.
        reason: Why the pod waits, in the kubelet's or the scheduler's word; "" if neither says.
    """

    step: str
    phase: str
    reason: str


def read_workflow(body: Mapping[str, Any], limit: int = OBJECT_LIMIT) -> Workflow:
    """Reads a Workflow from its object.

    Args:
        body: The object, as the Kubernetes API returns it.
        limit: The greatest size in bytes that Argo stores; 1 MiB by default.
    """
    metadata, status = body["metadata"], body.get("status") or {}
    nodes: Nodes = status.get("nodes") or _unpacked(status.get("compressedNodes") or "")
    is_ours = LAYOUT_LABEL in (metadata.get("labels") or {})  # for Argo alone
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
        steps=tuple(_own_steps(nodes) if is_ours else _steps(nodes)),
        failures=tuple(dict.fromkeys(_own_failures(nodes) if is_ours else _failures(nodes))),
        nodes=tuple(_containers(metadata["name"], nodes)),
    )


def step_of(node: str) -> str:
    """Returns the step of a node, from the node's full name, as ``run(0).root(0).start(0)``."""
    *outer, last = [_ATTEMPT.sub("", part) for part in node.split(".")]
    return outer[-1] if last == _INNER and outer else last


def step_of_pod(body: Mapping[str, Any]) -> str | None:
    """Returns the step that a pod runs, or None for one of the engine's own."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    if WORKFLOW in labels and KFP_RUN not in labels:
        # Argo's POD_NAMES v2: the Workflow, the template, and a hash
        inner: str = metadata["name"].removeprefix(f"{labels[WORKFLOW]}-")
        return inner.rpartition("-")[0] or inner
    node = (metadata.get("annotations") or {}).get(NODE, "")
    return step_of(node) if _OWN.search(node) else None


def read_pod(body: Mapping[str, Any]) -> StepPod:
    """Reads the pod of a step from its object."""
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
    node = (metadata.get("annotations") or {}).get(NODE) or metadata["name"]
    step = step_of_pod(body) or step_of(node)
    return StepPod(step, status.get("phase") or "Pending", next(filter(None, reasons), ""))


def _unpacked(text: str) -> Nodes:
    """Returns the nodes that Argo packed, or none if they are packed in another way."""
    try:
        nodes = json.loads(gzip.decompress(base64.b64decode(text))) if text else {}
    except (OSError, EOFError, ValueError, zlib.error):
        return {}
    return nodes if isinstance(nodes, dict) else {}


def _size(body: Mapping[str, Any]) -> int:
    """Returns the object's size in bytes with packed nodes; Argo omits ``managedFields``."""
    metadata = {key: body["metadata"][key] for key in body["metadata"] if key != "managedFields"}
    status = dict(body.get("status") or {})
    nodes = status.pop("nodes", None)
    if nodes:
        packed = base64.b64encode(gzip.compress(_text(nodes), 6, mtime=0))
        status["compressedNodes"] = packed.decode()
    return len(_text({**body, "metadata": metadata, "status": status}))


def _text(data: object) -> bytes:
    """Returns JSON text as Go writes it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode("utf-8", "replace")


def _steps(nodes: Nodes) -> Iterator[Step]:
    for node in nodes.values():
        is_task = node.get("templateName", "").rpartition("-")[2] in _TASKS
        is_attempt = bool((node.get("nodeFlag") or {}).get("retried"))
        if is_task and not is_attempt:
            phase = node.get("phase") or "Pending"
            yield Step(step_of(node["name"]), _STATES.get(phase, phase.upper()))


def _own_steps(nodes: Nodes) -> Iterator[Step]:
    """Yields the steps of a Workflow for Argo alone, by their templates, the first to begin first.

    Parameters stand in the nodes' names, dots and brackets included.
    """
    for node in sorted(nodes.values(), key=lambda node: node.get("startedAt") or ""):
        if _is_step(node):
            phase = node.get("phase") or "Pending"
            yield Step(node["templateName"], _STATES.get(phase, phase.upper()))


def _is_step(node: Mapping[str, Any]) -> bool:
    """Returns whether a node is a task with all of its tries; the exit handler's says retried."""
    kind, name = node.get("type"), node.get("templateName", "")
    is_try = kind == "Pod" and bool((node.get("nodeFlag") or {}).get("retried"))
    return kind in ("Pod", "Retry") and not is_try and not is_frame(name)


def _own_failures(nodes: Nodes) -> Iterator[Failure]:
    """Yields the failed tasks of a Workflow for Argo alone, with the reason of the last try."""
    for node in sorted(nodes.values(), key=lambda node: node.get("finishedAt") or ""):
        if _is_step(node) and node.get("phase") in _FAILED:
            tries = [nodes[each] for each in node.get("children") or () if each in nodes]
            tries = [each for each in tries if each.get("phase") in _FAILED] or [node]
            last = max(tries, key=lambda each: each.get("finishedAt") or "")
            message = _one_line(last.get("message") or node.get("message"))
            if message:
                yield Failure(node["templateName"], message)


def _containers(workflow: str, nodes: Nodes) -> Iterator[StepNode]:
    pods = [node for node in nodes.values() if node.get("type") == "Pod"]
    for node in sorted(pods, key=lambda node: node.get("startedAt") or ""):
        if _ATTEMPT.sub("", node["name"]).rpartition(".")[2] == _INNER:
            phase = node.get("phase") or "Pending"
            own = node["id"].removeprefix(f"{workflow}-")
            # Argo's POD_NAMES v2: the Workflow, the template, and the hash that the node ends with
            pod = f"{workflow}-{node.get('templateName', '')}"[:_LONGEST] + f"-{own}"
            state = _STATES.get(phase, phase.upper())
            yield StepNode(step_of(node["name"]), state, node["id"], pod)


def _failures(nodes: Nodes) -> Iterator[Failure]:
    """Yields the failed nodes without a failed child, unless a later attempt succeeded."""
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
    """Yields the nodes of the same step around a node: for ``b(0).executor`` ``b(0)``, ``b``."""
    step = step_of(name)
    while True:
        inner = _ATTEMPT.sub("", name)
        name = inner if inner != name else name.rpartition(".")[0]
        if not name or step_of(name) != step:
            return
        yield name


def _one_line(text: object) -> str:
    return " ".join(str(text or "").split())
