"""From a rendered manifest to the processes that stand for its pods."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from katibflow.collectors.sources import METRICS_PORT, Endpoint, SideContainer, Source
from katibflow.experiment.job_kinds import pod_templates
from katibflow.runners.local.environment import (
    container_environment,
    expand,
    pytorch_environment,
)
from katibflow.runners.local.paths import PathMap, map_paths

__all__ = [
    "OBSERVER",
    "Command",
    "JobPlan",
    "Replica",
    "command_of",
    "count",
    "plan_job",
    "program_of",
    "search_path",
]

NAMESPACE = "default"

OBSERVER = "collector-0"
"""Name of the replica that a Custom collector's container becomes."""


@dataclass(frozen=True)
class Replica:
    """One pod of a job, to become one process.

    Attributes:
        name: Lower-case type and index, ``master-0``.
        pod: The pod's name, for ``metadata.name``.
        container: The one container of the pod, as in the manifest.
        environment: What the job's controller sets, stronger than the container's own ``env``.
        defaults: What is set unless the container says otherwise.
    """

    name: str
    pod: str
    container: Mapping[str, Any]
    environment: Mapping[str, str]
    defaults: Mapping[str, str]


@dataclass(frozen=True)
class JobPlan:
    """What a job is made of and when it has succeeded.

    Attributes:
        replicas: Rank 0 first; its output is the trial's.
        parallelism: How many may run at once.
        deciders: Names of the replicas whose success counts.
        needed: How many of the deciders must succeed.
        connects: Whether the replicas are to connect to rank 0.
        source: What is read beside rank 0's output.
        observer: Name of the one that only collects metrics; empty when there is none.
    """

    replicas: tuple[Replica, ...]
    parallelism: int
    deciders: frozenset[str]
    needed: int
    connects: bool
    source: Source | None = None
    observer: str = ""


@dataclass(frozen=True)
class Command:
    """A process to start: its arguments, whole environment and working folder."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


def count(value: object, default: int) -> int | None:
    """A number of replicas, also as the text that a reference leaves; None when it is none."""
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return None
    return value


def plan_job(
    manifest: Mapping[str, Any],
    job: str,
    port: int,
    source: Source | None = None,
    metrics_port: int = 0,
) -> JobPlan:
    """The plan of a manifest that `local_check.manifest_faults` finds nothing wrong with.

    Args:
        manifest: A rendered PyTorchJob or batch Job.
        job: The job's name.
        port: Where rank 0 is to listen.
        source: What is read beside rank 0's output.
        metrics_port: Where rank 0 is to serve metrics, if it does.
    """
    is_pytorch = manifest["kind"] == "PyTorchJob"
    plan = _plan_pytorch(manifest, job, port) if is_pytorch else _plan_batch(manifest, job)
    first, *others = plan.replicas
    observer = ""
    match source:
        case Endpoint():
            defaults = {**first.defaults, METRICS_PORT: str(metrics_port)}
            first = replace(first, defaults=defaults)
        case SideContainer(container):
            observer = OBSERVER
            others.insert(0, Replica(observer, first.pod, container, {}, _defaults(job)))
    return replace(plan, replicas=(first, *others), source=source, observer=observer)


def _container(template: Mapping[str, Any]) -> Mapping[str, Any]:
    container = template["spec"]["containers"][0]
    assert isinstance(container, Mapping)
    return container


def _defaults(job: str) -> dict[str, str]:
    return {"PYTHONUNBUFFERED": "1", "KATIB_TRIAL_NAME": job}


def _plan_pytorch(manifest: Mapping[str, Any], job: str, port: int) -> JobPlan:
    spec = manifest["spec"]
    pods = pod_templates(manifest)
    counts = {
        pod.replica_type: count(spec["pytorchReplicaSpecs"][pod.replica_type].get("replicas"), 1)
        or 1
        for pod in pods
    }
    replicas: list[Replica] = []
    for pod in pods:
        for index in range(counts[pod.replica_type]):
            name = f"{pod.replica_type.lower()}-{index}"
            replicas.append(
                Replica(
                    name,
                    f"{job}-{name}",
                    _container(pod.template),
                    pytorch_environment(spec, counts, len(replicas), port),
                    {**_defaults(job), "LOCAL_RANK": "0"},
                )
            )
    names = [replica.name for replica in replicas]
    # Source: UpdateJobStatus in the operator's pytorchjob_controller.go: the master decides;
    # without one all workers must succeed, of an elastic job any.
    deciders = names[:1] if "Master" in counts else names
    needed = 1 if spec.get("elasticPolicy") else len(deciders)
    return JobPlan(
        tuple(replicas), len(replicas), frozenset(deciders), needed, connects=len(replicas) > 1
    )


def _plan_batch(manifest: Mapping[str, Any], job: str) -> JobPlan:
    spec = manifest["spec"]
    parallelism = count(spec.get("parallelism"), 1) or 1
    completions = count(spec.get("completions"), parallelism) or 1
    indexed = spec.get("completionMode") == "Indexed"
    replicas = tuple(
        Replica(
            f"job-{index}",
            f"{job}-{index}",
            _container(spec["template"]),
            {},
            {**_defaults(job), **({"JOB_COMPLETION_INDEX": str(index)} if indexed else {})},
        )
        for index in range(completions)
    )
    names = frozenset(replica.name for replica in replicas)
    return JobPlan(replicas, parallelism, names, completions, connects=False)


def command_of(
    replica: Replica,
    maps: Sequence[PathMap],
    default_folder: Path,
    marks: Mapping[str, str],
) -> Command:
    """The process of a replica.

    Everything is put together in the container's terms first and mapped once at the end.

    Args:
        replica: Which.
        maps: Container paths and their places here.
        default_folder: Where it runs when the container has no ``workingDir``.
        marks: Variables by which its processes are known.
    """
    container = replica.container
    fields = {"metadata.name": replica.pod, "metadata.namespace": NAMESPACE}
    given = {**replica.defaults, **replica.environment}
    values = container_environment(container.get("env") or (), given, fields)
    # As on a cluster: a later entry of the same name wins, and the operator's come last.
    values |= replica.environment
    words = [*container["command"], *(container.get("args") or ())]
    folder = container.get("workingDir")
    return Command(
        arguments=tuple(map_paths(expand(str(word), values), maps) for word in words),
        environment={
            **os.environ,
            "PATH": search_path(),
            **{name: map_paths(value, maps) for name, value in values.items()},
            **marks,
        },
        folder=default_folder / map_paths(folder, maps) if folder else default_folder,
    )


def search_path() -> str:
    """PATH with this interpreter's folder first, so that python3 and torchrun are its own."""
    # sys.executable as it is, not resolved: the link in a venv's bin is what makes it that venv.
    return os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])


def program_of(command: Command) -> str | None:
    """The file that a command starts; None when there is none or it cannot be executed."""
    name = command.arguments[0]
    if "/" not in name:
        found = shutil.which(name, path=command.environment.get("PATH", os.defpath))
        return str(Path(found).absolute()) if found else None
    path = command.folder / name
    return str(path) if path.is_file() and os.access(path, os.X_OK) else None
