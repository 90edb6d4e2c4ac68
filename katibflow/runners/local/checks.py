"""Checks an experiment for parts that cannot run on this machine, before anything is started."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from katibflow.collectors import source_for
from katibflow.collectors.sources import SideContainer
from katibflow.errors import Fault, InvalidExperiment
from katibflow.experiment.architecture import assigned_names, template_of
from katibflow.experiment.job_kinds import pod_templates
from katibflow.experiment.trial_template import render
from katibflow.experiment.types import Experiment
from katibflow.experiment.yaml_reader import found
from katibflow.runners.local.devices import gpu_faults
from katibflow.runners.local.environment import reference_of
from katibflow.runners.local.file_checks import UNKNOWN, file_faults
from katibflow.runners.local.host import Host
from katibflow.runners.local.manifest import count
from katibflow.runners.local.paths import PathMap, with_map
from katibflow.study.checkpoints import checkpoint_path

__all__ = ["check_local", "manifest_faults"]

_KINDS = (("kubeflow.org/v1", "PyTorchJob"), ("batch/v1", "Job"))
_FIELDS = ("metadata.name", "metadata.namespace")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CUSTOM = "spec.metricsCollectorSpec.collector.customCollector"
_HERE = Host()


def check_local(experiment: Experiment, host: Host = _HERE, source: str | None = None) -> None:
    """Checks that the experiment's trials can run as processes of this machine.

    Args:
        experiment: The experiment to run.
        host: The options of the run.
        source: The file's name, for errors; the experiment's name by default.

    Raises:
        InvalidExperiment: They cannot run here; the error lists every reason.
    """
    template = template_of(experiment.spec)
    assignments = {name: UNKNOWN for name in assigned_names(experiment.spec)}
    manifest = render(
        template,
        assignments,
        name=experiment.name,
        namespace=experiment.metadata.namespace or "default",
    )
    checkpoints = checkpoint_path(experiment)
    if checkpoints is not None:
        maps = with_map(host.maps, PathMap(checkpoints.rstrip("/"), Path("/")))
        host = replace(host, maps=maps)
    where = "spec.trialTemplate.trialSpec"
    faults = [
        Fault(f"{where}.{fault.path}", fault.found, fault.allowed)
        for fault in (*manifest_faults(manifest, host), *file_faults(manifest, host))
    ]
    faults += gpu_faults(host.gpus)
    metrics = source_for(experiment)
    if isinstance(metrics, SideContainer):
        faults += _container_faults(metrics.container, _CUSTOM, host)
    if faults:
        raise InvalidExperiment(source or experiment.name, dict.fromkeys(faults))


def manifest_faults(manifest: Mapping[str, Any], host: Host = _HERE) -> Iterator[Fault]:
    """Yields the parts of a rendered manifest that no process can stand for, with their paths.

    Args:
        manifest: The rendered job.
        host: The options of the run.
    """
    api_version, kind = manifest.get("apiVersion"), manifest.get("kind")
    if (api_version, kind) not in _KINDS:
        yield Fault(
            "kind",
            f"{kind} ({api_version})",
            "PyTorchJob (kubeflow.org/v1) or Job (batch/v1) on this machine",
        )
        return
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping):
        yield Fault("spec", found(spec), "a mapping that describes the pods")
        return
    yield from _pytorch_faults(spec) if kind == "PyTorchJob" else _batch_faults(spec)
    pods = pod_templates(manifest)
    if not pods:
        yield Fault("spec", "no pods", "a job with pod templates")
    for pod in pods:
        pod_spec = pod.template.get("spec")
        yield from _pod_faults(
            pod_spec if isinstance(pod_spec, Mapping) else {}, f"{pod.path}.spec", host
        )


def _count_fault(spec: Mapping[str, Any], key: str, path: str) -> Iterator[Fault]:
    value = spec.get(key)
    if count(value, 1) is None and UNKNOWN not in str(value):
        yield Fault(f"{path}.{key}", found(value), "a whole number above 0")


def _pytorch_faults(spec: Mapping[str, Any]) -> Iterator[Fault]:
    where = "spec.pytorchReplicaSpecs"
    replicas = spec.get("pytorchReplicaSpecs")
    for name, replica in (replicas if isinstance(replicas, Mapping) else {}).items():
        if name not in ("Master", "Worker"):
            yield Fault(f"{where}.{name}", "an unknown replica type", "Master, Worker")
        if not isinstance(replica, Mapping):
            yield Fault(f"{where}.{name}", found(replica), "a mapping with replicas and template")
            continue
        yield from _count_fault(replica, "replicas", f"{where}.{name}")
        if name == "Master" and (count(replica.get("replicas"), 1) or 1) > 1:
            yield Fault(f"{where}.Master.replicas", found(replica["replicas"]), "1")
    policy = spec.get("elasticPolicy")
    if policy is None:
        return
    if not isinstance(policy, Mapping):
        yield Fault("spec.elasticPolicy", found(policy), "a mapping")
    elif policy.get("rdzvBackend", "c10d") != "c10d":
        yield Fault(
            "spec.elasticPolicy.rdzvBackend", found(policy["rdzvBackend"]), "c10d on this machine"
        )


def _batch_faults(spec: Mapping[str, Any]) -> Iterator[Fault]:
    yield from _count_fault(spec, "completions", "spec")
    yield from _count_fault(spec, "parallelism", "spec")
    mode = spec.get("completionMode", "NonIndexed")
    if mode not in ("Indexed", "NonIndexed"):
        yield Fault("spec.completionMode", found(mode), "Indexed, NonIndexed")


def _pod_faults(pod: Mapping[str, Any], path: str, host: Host) -> Iterator[Fault]:
    if pod.get("initContainers"):
        yield Fault(
            f"{path}.initContainers",
            found(pod["initContainers"]),
            "nothing on this machine: a pod is the one process of its container",
        )
    containers = pod.get("containers")
    if not isinstance(containers, list) or not containers:
        yield Fault(f"{path}.containers", found(containers), "a list with one container")
        return
    if len(containers) > 1:
        yield Fault(
            f"{path}.containers",
            found(containers),
            "one container a pod on this machine, the primary one; leave sidecars out",
        )
    for index, container in enumerate(containers):
        if not isinstance(container, Mapping):
            yield Fault(f"{path}.containers[{index}]", found(container), "a mapping")
        else:
            yield from _container_faults(container, f"{path}.containers[{index}]", host)


def _container_faults(container: Mapping[str, Any], path: str, host: Host) -> Iterator[Fault]:
    command = container.get("command")
    if not command:
        yield Fault(
            f"{path}.command",
            "",
            "the command as a list: the image, and so its entrypoint, is unknown on this machine",
        )
    for key in ("command", "args"):
        words = container.get(key)
        if words is None:
            continue
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            yield Fault(f"{path}.{key}", found(words), "a list of strings")
    if container.get("envFrom"):
        yield from _env_from_faults(container["envFrom"], f"{path}.envFrom", host)
    folder = container.get("workingDir")
    if folder is not None and not isinstance(folder, str):
        yield Fault(f"{path}.workingDir", found(folder), "a path")
    entries = container.get("env")
    if entries is not None and not isinstance(entries, list):
        yield Fault(f"{path}.env", found(entries), "a list of name and value")
        return
    for index, entry in enumerate(entries or ()):
        yield from _env_faults(entry, f"{path}.env[{index}]", host)


def _env_from_faults(entries: object, path: str, host: Host) -> Iterator[Fault]:
    """Yields a fault for each Secret or ConfigMap whose variables nobody gives here."""
    if not isinstance(entries, list):
        yield Fault(path, found(entries), "a list of secretRef and configMapRef")
        return
    for index, entry in enumerate(entries):
        reference = reference_of(entry) if isinstance(entry, Mapping) else None
        if reference is None:
            yield Fault(f"{path}[{index}]", found(entry), "secretRef or configMapRef")
            continue
        kind, of = reference
        if not host.has_files and of.get("optional") is not True:
            yield Fault(
                f"{path}[{index}]",
                f"the {kind} {of.get('name')}, which is in a cluster",
                "its variables in a file, one NAME=VALUE a line: --env-file FILE (env_file); an "
                "empty one if they are set here; or optional: true",
            )


def _env_faults(entry: object, path: str, host: Host) -> Iterator[Fault]:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(name, str):
        yield Fault(path, found(entry), "a mapping with name and value")
        return
    if not _ENV_NAME.fullmatch(name) and UNKNOWN not in name:
        yield Fault(f"{path}.name", found(name), "letters, digits and _, first no digit")
    source = entry.get("valueFrom")
    reference = reference_of(source) if isinstance(source, Mapping) else None
    if reference is not None:
        kind, of = reference
        if host.known(name) is None and of.get("optional") is not True:
            yield Fault(
                f"{path}.valueFrom",
                f"{of.get('key')} of the {kind} {of.get('name')}, which is in a cluster, and no "
                f"variable {name} here",
                f"{name} in the environment of this command, or {name}=... in a file: --env-file "
                "FILE (env_file); or optional: true",
            )
    elif source:
        field = source.get("fieldRef") if isinstance(source, Mapping) else None
        if not isinstance(field, Mapping) or field.get("fieldPath") not in _FIELDS:
            kinds = ", ".join(map(str, source)) if isinstance(source, Mapping) else found(source)
            yield Fault(
                f"{path}.valueFrom",
                str(field["fieldPath"])
                if isinstance(field, Mapping) and "fieldPath" in field
                else kinds,
                f"a value, secretKeyRef, configMapKeyRef, or fieldRef of {' or '.join(_FIELDS)} on "
                "this machine",
            )
    elif entry.get("value") is not None and not isinstance(entry["value"], str):
        yield Fault(f"{path}.value", found(entry["value"]), "a string")
