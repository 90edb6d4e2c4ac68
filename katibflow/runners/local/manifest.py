"""Turns a rendered manifest into the processes that stand for its pods."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from katibflow.collectors.sources import METRICS_PORT, Endpoint, SideContainer, Source
from katibflow.experiment.job_kinds import pod_templates
from katibflow.runners.local.devices import GpuKind, count_of
from katibflow.runners.local.environment import (
    container_environment,
    expand,
    pytorch_environment,
)
from katibflow.runners.local.host import Host
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
    "texts_of",
    "with_gpus",
]

NAMESPACE = "default"

_PYTHON = re.compile(r"python[0-9.]*")

OBSERVER = "collector-0"
"""Name of the replica that a Custom collector's container becomes."""


@dataclass(frozen=True)
class Replica:
    """One pod of a job, which becomes one process.

    Attributes:
        name: Lower-case type and index, such as ``master-0``.
        pod: The pod's name, for ``metadata.name``.
        container: The only container of the pod, as in the manifest.
        environment: Variables of the job's controller, which override the container's ``env``.
        defaults: Variables that the container's ``env`` may override.
    """

    name: str
    pod: str
    container: Mapping[str, Any]
    environment: Mapping[str, str]
    defaults: Mapping[str, str]


@dataclass(frozen=True)
class JobPlan:
    """The replicas of a job, and the condition of its success.

    Attributes:
        replicas: Rank 0 first; its output is the trial's.
        parallelism: Highest number of replicas that run at once.
        deciders: Names of the replicas whose success counts.
        needed: Number of deciders that must succeed.
        connects: Whether the replicas are to connect to rank 0.
        source: Source of the metrics, if it is not rank 0's output.
        observer: Name of the replica that only collects metrics; empty without one.
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
    """Returns a number of replicas, given as a number or a text, or None for anything else."""
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
    """Returns the plan of a manifest in which `checks.manifest_faults` finds nothing.

    Args:
        manifest: A rendered PyTorchJob or batch Job.
        job: The job's name.
        port: Port on which rank 0 listens.
        source: Source of the metrics, if it is not rank 0's output.
        metrics_port: Port on which rank 0 serves metrics, if it does.
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


def with_gpus(plan: JobPlan, kind: GpuKind, ids: Sequence[str]) -> JobPlan:
    """Returns the plan in which each replica sees its part of a trial's GPUs.

    Args:
        plan: The plan of the job.
        kind: The make of the GPUs.
        ids: The trial's GPUs; those of pods that run one after the other are the same.
    """
    replicas, begin = [], 0
    for replica in plan.replicas:
        number = count_of(replica.container, kind)
        own = [ids[place % len(ids)] for place in range(begin, begin + number)] if ids else []
        begin += number
        if number:
            defaults = {**replica.defaults, kind.variable: ",".join(own)}
            replica = replace(replica, defaults=defaults)
        replicas.append(replica)
    return replace(plan, replicas=tuple(replicas))


def command_of(
    replica: Replica,
    host: Host,
    default_folder: Path,
    marks: Mapping[str, str],
    maps: Sequence[PathMap] | None = None,
) -> Command:
    """Returns the process of a replica.

    Everything is composed with the container's paths first and mapped once at the end.

    Args:
        replica: The replica.
        host: The options of the run.
        default_folder: Working folder of a container without ``workingDir``.
        marks: Variables by which the replica's processes are recognized.
        maps: Container paths and their replacements here; those of the options by default.
    """
    maps = host.maps if maps is None else maps
    composed = _composed(replica, host)
    folder = composed.folder
    return Command(
        arguments=tuple(map_paths(word, maps) for word in composed.words),
        environment={
            **os.environ,
            "PATH": host.search_path,
            **{name: map_paths(value, maps) for name, value in composed.values.items()},
            **marks,
        },
        folder=default_folder / map_paths(folder, maps) if folder else default_folder,
    )


def texts_of(replica: Replica, host: Host) -> Sequence[str]:
    """Returns what a replica's process is given, with the container's paths.

    Args:
        replica: The replica.
        host: The options of the run.
    """
    composed = _composed(replica, host)
    return (*composed.words, *composed.values.values(), composed.folder)


@dataclass(frozen=True)
class _Composed:
    """A process as the container describes it: with its paths, before they are mapped."""

    words: tuple[str, ...]
    values: Mapping[str, str]
    folder: str


def _composed(replica: Replica, host: Host) -> _Composed:
    container = replica.container
    fields = {"metadata.name": replica.pod, "metadata.namespace": NAMESPACE}
    given = {**replica.defaults, **host.variables, **replica.environment}
    values = container_environment(container.get("env") or (), given, fields, host.known)
    # As on a cluster: a later entry of the same name wins, and the operator's come last.
    values |= replica.environment
    words = [*container["command"], *(container.get("args") or ())]
    if host.python is not None and _PYTHON.fullmatch(str(words[0])):
        words[0] = host.python
    texts = tuple(expand(str(word), values) for word in words)
    return _Composed(texts, values, container.get("workingDir") or "")


def program_of(command: Command) -> str | None:
    """Returns the file that a command starts, or None if there is none or it is not executable."""
    name = command.arguments[0]
    if "/" not in name:
        found = shutil.which(name, path=command.environment.get("PATH", os.defpath))
        return str(Path(found).absolute()) if found else None
    path = command.folder / name
    return str(path) if path.is_file() and os.access(path, os.X_OK) else None
