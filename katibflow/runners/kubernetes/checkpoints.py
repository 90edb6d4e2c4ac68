"""Gives trials of population based training checkpoint folders on a volume of the cluster.

The trialSpec mounts a lasting volume at the setting ``suggestion_trial_dir``, in every pod. Each
trial gets a folder of its own in it, ``<experiment>-<run>/<job>/<creation>/checkpoint``, as the
mount's ``subPath``, behind the file's own ``subPath``. An init container of the same image makes
the folder, empty or as a copy of the parent's, and renames it in one step. So all pods of a trial
find the same folder, and a pod that replaces another one finds the files of that one.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from katibflow.errors import Fault, InvalidExperiment
from katibflow.experiment import job_kinds
from katibflow.experiment.types import Experiment
from katibflow.experiment.yaml_reader import found
from katibflow.study.checkpoints import (
    GENERATION_LABEL,
    PARENT_LABEL,
    Checkpoint,
    checkpoint_path,
)

__all__ = ["SCRIPT", "AddCheckpoint", "add_checkpoint", "check_checkpoints"]

AddCheckpoint = Callable[[dict[str, Any], Checkpoint, str, str | None], None]
"""See `add_checkpoint`."""

SCRIPT = """\
set -eu
own=$ROOT/$JOB/$CREATION
draft=$ROOT/$JOB/.draft-$HOSTNAME
for old in "$ROOT/$JOB"/* "$draft"; do
  if [ "$old" != "$own" ]; then rm -rf "$old"; fi
done
if [ -d "$own" ]; then exit 0; fi
mkdir -p "$draft/checkpoint"
if [ -n "$PARENT" ]; then
  cp -a "$ROOT/$PARENT"/*/checkpoint/. "$draft/checkpoint/"
fi
mv -T "$draft" "$own" 2>/dev/null || [ -d "$own" ]
rm -rf "$draft"
"""
"""Script for a POSIX shell that makes a trial's folder; all pods may run it at the same time."""

_ROOT = "/katibflow-checkpoints"
_NAME = "katibflow-checkpoint"
_PASSING = ("configMap", "downwardAPI", "emptyDir", "ephemeral", "image", "projected", "secret")
"""Volumes that do not outlive a pod, are not shared by pods, or cannot be written."""

_SMALL = {
    "requests": {"cpu": "10m", "memory": "16Mi"},
    "limits": {"cpu": "500m", "memory": "128Mi"},
}


def check_checkpoints(experiment: Experiment, source: str | None = None) -> None:
    """Checks that every pod of a trial has a lasting volume, if it needs checkpoints.

    Args:
        experiment: The experiment to run.
        source: The file's name, for errors; the experiment's name by default.

    Raises:
        InvalidExperiment: A pod has no such volume; the error names each one.
    """
    path = checkpoint_path(experiment)
    if path is None:
        return
    faults = list(_faults(experiment.spec.trial_template.trial_spec or {}, path.rstrip("/")))
    if faults:
        raise InvalidExperiment(source or experiment.name, faults)


def _faults(manifest: Mapping[str, Any], path: str) -> Iterator[Fault]:
    where = "spec.trialTemplate.trialSpec"
    pods = job_kinds.pod_templates(manifest)
    if not pods:
        yield Fault(
            f"{where}.kind",
            str(manifest.get("kind")),
            "for pbt a kind whose pods stand in trialSpec, as PyTorchJob or Job",
        )
    for pod in pods:
        spec = pod.template.get("spec") or {}
        volumes = {volume.get("name"): volume for volume in spec.get("volumes") or ()}
        place = f"{where}.{pod.path}.spec"
        mounts = [
            (f"{place}.containers[{index}].volumeMounts[{number}]", mount)
            for index, container in enumerate(spec.get("containers") or ())
            for number, mount in enumerate(container.get("volumeMounts") or ())
            if _is_at(mount, path)
        ]
        if not mounts:
            yield Fault(
                f"{place}.containers",
                f"no volumeMount at {path}",
                f"a persistentVolumeClaim mounted at {path} (suggestion_trial_dir), in which each "
                "trial gets its checkpoint folder",
            )
        for at, mount in mounts:
            volume = volumes.get(mount.get("name"))
            if volume is None:
                yield Fault(f"{at}.name", found(mount.get("name")), f"a volume of {place}.volumes")
            passing = [key for key in _PASSING if key in (volume or {})]
            if passing:
                yield Fault(f"{at}.name", passing[0], "a volume that outlives the pods, as a PVC")
            for key in ("readOnly", "subPathExpr"):
                if mount.get(key):
                    yield Fault(f"{at}.{key}", found(mount[key]), "nothing, for checkpoints")


def _is_at(mount: object, path: str) -> bool:
    given = mount.get("mountPath") if isinstance(mount, Mapping) else None
    return isinstance(given, str) and given.rstrip("/") == path


def add_checkpoint(
    body: dict[str, Any], checkpoint: Checkpoint, job: str, parent: str | None
) -> None:
    """Adds a trial's checkpoint folder and its lineage labels to a job object.

    Args:
        body: The object; it is changed.
        checkpoint: The checkpoint folder.
        job: The object's name.
        parent: The name of the parent's object; None: the folder is empty at first.
    """
    labels = body["metadata"]["labels"]
    labels[GENERATION_LABEL] = str(checkpoint.generation)
    if parent is not None:
        labels[PARENT_LABEL] = parent
    creation = secrets.token_hex(4)
    for pod in job_kinds.pod_templates(body):
        spec: Any = pod.template["spec"]
        first: tuple[Any, Any] | None = None
        for container in spec["containers"]:
            for mount in container.get("volumeMounts") or ():
                if _is_at(mount, checkpoint.path.rstrip("/")):
                    first = first or (container, copy.deepcopy(mount))
                    own = f"{_folder(job)}/{creation}/checkpoint"
                    mount["subPath"] = "/".join(filter(None, (mount.get("subPath"), own)))
        if first is not None:
            init = _init_container(*first, job, parent, creation)
            spec["initContainers"] = [init, *(spec.get("initContainers") or ())]


def _folder(job: str) -> str:
    """Returns a job's folder in the volume; the folders of a run are together."""
    return f"{job.rpartition('-')[0]}/{job}"


def _init_container(
    container: Mapping[str, Any],
    mount: Mapping[str, Any],
    job: str,
    parent: str | None,
    creation: str,
) -> dict[str, Any]:
    values = {
        "ROOT": _ROOT,
        "JOB": _folder(job),
        "PARENT": _folder(parent) if parent else "",
        "CREATION": creation,
    }
    alike = ("image", "imagePullPolicy", "securityContext")
    return {
        "name": _NAME,
        **{key: copy.deepcopy(container[key]) for key in alike if key in container},
        "command": ["sh", "-c", SCRIPT],
        "env": [
            *({"name": name, "value": value} for name, value in values.items()),
            {"name": "HOSTNAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "volumeMounts": [{**mount, "mountPath": _ROOT}],
        "resources": copy.deepcopy(_SMALL),
    }
