"""Checks an experiment for parts that cannot run on this machine, before anything is started."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from katibflow.collectors import source_for
from katibflow.collectors.sources import SideContainer
from katibflow.errors import Fault, InvalidExperiment
from katibflow.experiment.job_kinds import pod_templates
from katibflow.experiment.trial_template import render
from katibflow.experiment.types import Experiment
from katibflow.experiment.yaml_reader import found
from katibflow.runners.local.manifest import count, search_path
from katibflow.runners.local.paths import PathMap, map_paths, with_map
from katibflow.study.checkpoints import checkpoint_path

__all__ = ["check_local", "manifest_faults"]

_KINDS = (("kubeflow.org/v1", "PyTorchJob"), ("batch/v1", "Job"))
_FIELDS = ("metadata.name", "metadata.namespace")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_INTERPRETER = re.compile(r"(python[0-9.]*|(ba|da|z|k)?sh|torchrun|accelerate|env)")
_CUSTOM = "spec.metricsCollectorSpec.collector.customCollector"
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for an assignment: a text with it cannot be checked before there is a trial."""


def check_local(
    experiment: Experiment, maps: Sequence[PathMap] = (), source: str | None = None
) -> None:
    """Checks that the experiment's trials can run as processes of this machine.

    Args:
        experiment: The experiment to run.
        maps: Container paths and their replacements here.
        source: The file's name, for errors; the experiment's name by default.

    Raises:
        InvalidExperiment: They cannot run here; the error lists every reason.
    """
    template = experiment.spec.trial_template
    assignments = {parameter.name: _UNKNOWN for parameter in experiment.spec.parameters}
    manifest = render(
        template,
        assignments,
        name=experiment.name,
        namespace=experiment.metadata.namespace or "default",
    )
    checkpoints = checkpoint_path(experiment)
    if checkpoints is not None:
        maps = with_map(maps, PathMap(checkpoints.rstrip("/"), Path("/")))
    where = "spec.trialTemplate.trialSpec"
    faults = [
        Fault(f"{where}.{fault.path}", fault.found, fault.allowed)
        for fault in (*manifest_faults(manifest), *_file_faults(manifest, maps))
    ]
    metrics = source_for(experiment)
    if isinstance(metrics, SideContainer):
        faults += _container_faults(metrics.container, _CUSTOM)
    if faults:
        raise InvalidExperiment(source or experiment.name, dict.fromkeys(faults))


def manifest_faults(manifest: Mapping[str, Any]) -> Iterator[Fault]:
    """Yields the parts of a rendered manifest that no process can stand for, with their paths."""
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
            pod_spec if isinstance(pod_spec, Mapping) else {}, f"{pod.path}.spec"
        )


def _count_fault(spec: Mapping[str, Any], key: str, path: str) -> Iterator[Fault]:
    value = spec.get(key)
    if count(value, 1) is None and _UNKNOWN not in str(value):
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


def _pod_faults(pod: Mapping[str, Any], path: str) -> Iterator[Fault]:
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
            yield from _container_faults(container, f"{path}.containers[{index}]")


def _container_faults(container: Mapping[str, Any], path: str) -> Iterator[Fault]:
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
        yield Fault(
            f"{path}.envFrom", found(container["envFrom"]), "env with the values on this machine"
        )
    folder = container.get("workingDir")
    if folder is not None and not isinstance(folder, str):
        yield Fault(f"{path}.workingDir", found(folder), "a path")
    entries = container.get("env")
    if entries is not None and not isinstance(entries, list):
        yield Fault(f"{path}.env", found(entries), "a list of name and value")
        return
    for index, entry in enumerate(entries or ()):
        yield from _env_faults(entry, f"{path}.env[{index}]")


def _env_faults(entry: object, path: str) -> Iterator[Fault]:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(name, str):
        yield Fault(path, found(entry), "a mapping with name and value")
        return
    if not _ENV_NAME.fullmatch(name) and _UNKNOWN not in name:
        yield Fault(f"{path}.name", found(name), "letters, digits and _, first no digit")
    source = entry.get("valueFrom")
    if source:
        field = source.get("fieldRef") if isinstance(source, Mapping) else None
        if not isinstance(field, Mapping) or field.get("fieldPath") not in _FIELDS:
            kinds = ", ".join(map(str, source)) if isinstance(source, Mapping) else found(source)
            yield Fault(
                f"{path}.valueFrom",
                str(field["fieldPath"])
                if isinstance(field, Mapping) and "fieldPath" in field
                else kinds,
                f"a value, or fieldRef of {' or '.join(_FIELDS)} on this machine",
            )
    elif entry.get("value") is not None and not isinstance(entry["value"], str):
        yield Fault(f"{path}.value", found(entry["value"]), "a string")


def _file_faults(manifest: Mapping[str, Any], maps: Sequence[PathMap]) -> Iterator[Fault]:
    """Yields programs and scripts that a command names and this machine lacks."""
    for pod in pod_templates(manifest):
        pod_spec = pod.template.get("spec")
        containers = pod_spec.get("containers") if isinstance(pod_spec, Mapping) else None
        for index, container in enumerate(containers if isinstance(containers, list) else ()):
            if isinstance(container, Mapping):
                path = f"{pod.path}.spec.containers[{index}]"
                yield from _program_faults(container, path, maps)


def _program_faults(
    container: Mapping[str, Any], path: str, maps: Sequence[PathMap]
) -> Iterator[Fault]:
    words = [
        (f"{path}.{key}[{index}]", word)
        for key in ("command", "args")
        if isinstance(container.get(key), list)
        for index, word in enumerate(container[key])
        if isinstance(word, str)
    ]
    folder = container.get("workingDir")
    if isinstance(folder, str) and _is_absent(folder, maps, os.path.isdir):
        yield _missing(f"{path}.workingDir", folder, folder)
    if not words or not container.get("command"):
        return
    where, program = words[0]
    if _is_open(program):
        return
    if program.startswith("/"):
        mapped = map_paths(program, maps)
        if not os.path.isfile(mapped):
            yield _missing(where, program, os.path.dirname(program))
        elif not os.access(mapped, os.X_OK):
            yield Fault(where, f'"{program}", which is not executable here', "a program")
    elif "/" not in program and not _is_found(program, container):
        yield Fault(where, f'"{program}", which is not on PATH here', "a program of this machine")
    if _INTERPRETER.fullmatch(os.path.basename(program)):
        yield from _script_faults(words[1:], maps)


def _is_found(program: str, container: Mapping[str, Any]) -> bool:
    """Returns whether a program is on PATH; True if the container sets a PATH of its own."""
    entries = container.get("env")
    names = [
        entry.get("name")
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping)
    ]
    return "PATH" in names or shutil.which(program, path=search_path()) is not None


def _script_faults(words: Sequence[tuple[str, str]], maps: Sequence[PathMap]) -> Iterator[Fault]:
    previous = ""
    for where, word in words:
        texts = [word]
        if re.fullmatch(r"-[a-z]*c", previous):
            try:
                texts = shlex.split(word)
            except ValueError:
                texts = [word]
        previous = word
        for text in texts:
            if text.endswith((".py", ".sh")):
                if _is_absent(text, maps, os.path.isfile):
                    yield _missing(where, text, os.path.dirname(text))
                return


def _missing(where: str, path: str, folder: str) -> Fault:
    return Fault(
        where,
        f'"{path}", which does not exist here',
        f"a path of this machine, or a map of the container's path: --map {folder}=DIR",
    )


def _is_absent(path: str, maps: Sequence[PathMap], exists: Callable[[str], bool]) -> bool:
    return path.startswith("/") and not _is_open(path) and not exists(map_paths(path, maps))


def _is_open(text: str) -> bool:
    """Returns whether the text is known only while a trial runs."""
    return _UNKNOWN in text or "$(" in text
