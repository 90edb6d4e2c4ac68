"""Says in words what a job becomes on this machine, before anything runs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from katibflow.experiment.job_kinds import pod_templates
from katibflow.runners.local.devices import GPU_KINDS
from katibflow.runners.local.environment import reference_of
from katibflow.runners.local.host import Host
from katibflow.runners.local.manifest import command_of, plan_job, program_of, with_gpus
from katibflow.runners.local.processors import THREADS, processors_here, with_threads
from katibflow.runners.local.project import project_of

__all__ = ["preview", "secret_notes"]


def preview(manifest: Mapping[str, Any], folder: Path, host: Host) -> list[str]:
    """Returns lines with the interpreter of a trial, and each replica's program and folder.

    Args:
        manifest: The rendered job.
        folder: The trial's folder.
        host: The options of the run.
    """
    lines = [f"python of the trials: {host.interpreter}; its folder is first on PATH"]
    plan = with_threads(plan_job(manifest, "preview", 0), host.side_by_side, processors_here())
    if host.gpus is not None and host.gpus.ids:
        plan = with_gpus(plan, host.gpus.kind, host.gpus.ids[: host.gpus.each])
    for replica in plan.replicas:
        at = project_of(replica.container, host.projects) or folder
        command = command_of(replica, host, at, {})
        program = program_of(command) or command.arguments[0]
        lines.append(f"{replica.name}: {shlex.join([program, *command.arguments[1:]])}")
        lines.append(f"  in {command.folder}")
        shared = [THREADS, *(kind.variable for kind in GPU_KINDS)]
        lines += [
            f"  with {key}={replica.defaults[key]}" for key in shared if key in replica.defaults
        ]
    return lines


def secret_notes(manifest: Mapping[str, Any], host: Host) -> tuple[str, ...]:
    """Returns a line for each Secret and ConfigMap whose values come from this machine."""
    found = [note for container in _containers(manifest) for note in _notes(container, host)]
    return tuple(dict.fromkeys(found))


def _containers(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for pod in pod_templates(manifest):
        spec = pod.template.get("spec")
        containers = spec.get("containers") if isinstance(spec, Mapping) else None
        for container in containers if isinstance(containers, list) else ():
            if isinstance(container, Mapping):
                yield container


def _notes(container: Mapping[str, Any], host: Host) -> Iterator[str]:
    for entry in container.get("env") or ():
        reference = reference_of(entry.get("valueFrom") or {})
        if reference is None:
            continue
        kind, of = reference
        name = entry["name"]
        if name in host.variables:
            where = "the value in --env-file stands in"
        elif host.known(name) is not None:
            where = f"the variable {name} of this command's environment stands in"
        else:
            where = "it is optional, and left out"
        yield f"{name}: for {of.get('key')} of the {kind} {of.get('name')}, {where}"
    for entry in container.get("envFrom") or ():
        reference = reference_of(entry)
        if reference is not None:
            kind, of = reference
            stands = (
                "--env-file stands in" if host.has_files else "nothing stands in, it is optional"
            )
            yield f"the variables of the {kind} {of.get('name')}: {stands}"
