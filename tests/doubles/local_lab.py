"""Helpers to run real processes with the local runner."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobOutcome, TrialJob
from katibflow.runners.local.host import Host
from katibflow.runners.local.members import marked
from katibflow.runners.local.runner import LocalRunner, PathMap
from katibflow.runners.stopping import StopRequest
from tests.behaviour.runner_contract import Watch, Work, trial


class LocalLab:
    """Runs `Work` as shell scripts; executions are counted by a file that each one appends to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        self.notes = folder / "notes"
        self.notes.mkdir(exist_ok=True)

    def runner(self, maps: Sequence[PathMap] = ()) -> LocalRunner:
        return LocalRunner(self.folder, Host(maps=tuple(maps)))

    def job(self, number: int, work: Work, limits: Limits | None = None) -> TrialJob:
        gate = self.notes / f"gate-{number}"
        if work.held and not gate.exists():
            os.mkfifo(gate)
        script = [f"echo begun >> {shlex.quote(str(self.notes / f'count-{number}'))}"]
        script += [f"echo {shlex.quote(line)}" for line in work.lines]
        script += [f"read -r _ < {shlex.quote(str(gate))}"] if work.held else []
        script += [f"echo {shlex.quote(line)}" for line in work.last_lines]
        script += [f"exit {work.exit_code}"]
        return batch_job(number, ["sh", "-c", "\n".join(script)], limits)

    def release(self, number: int) -> None:
        with (self.notes / f"gate-{number}").open("w") as gate:
            gate.write("go\n")

    def executions(self, number: int) -> int:
        path = self.notes / f"count-{number}"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def is_alive(self, number: int) -> bool:
        return bool(marked(self.folder / "trials" / f"{number:04d}"))


def container(command: Sequence[str], **more: Any) -> dict[str, Any]:
    return {"name": "main", "image": "none", "command": list(command), **more}


def batch_job(
    number: int,
    command: Sequence[str],
    limits: Limits | None = None,
    *,
    spec: Mapping[str, Any] | None = None,
    **more: Any,
) -> TrialJob:
    template = {"spec": {"restartPolicy": "Never", "containers": [container(command, **more)]}}
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {**(spec or {}), "template": template},
    }
    return TrialJob(trial(number), manifest, "main", limits or Limits())


def pytorch_job(
    number: int,
    master: Sequence[str] | None,
    worker: Sequence[str] | None = None,
    limits: Limits | None = None,
    *,
    workers: int = 1,
    spec: Mapping[str, Any] | None = None,
    **more: Any,
) -> TrialJob:
    replicas = {
        name: {
            "replicas": count,
            "restartPolicy": "Never",
            "template": {"spec": {"containers": [container(command, **more)]}},
        }
        for name, command, count in (("Master", master, 1), ("Worker", worker, workers))
        if command is not None
    }
    manifest = {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "spec": {**(spec or {}), "pytorchReplicaSpecs": replicas},
    }
    return TrialJob(trial(number), manifest, "main", limits or Limits())


def run(lab: LocalLab, job: TrialJob, maps: Sequence[PathMap] = ()) -> tuple[JobOutcome, Watch]:
    watch = Watch()
    return lab.runner(maps).run(job, watch, StopRequest()), watch


def log_of(outcome: JobOutcome, replica: str) -> str:
    return Path(outcome.logs[replica]).read_text()
