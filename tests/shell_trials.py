"""Experiments whose trials are shell scripts in batch Jobs, what steps give, and what is left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from katibflow.experiment.types import Experiment
from katibflow.steps import report
from katibflow.validation.rules import check_document
from tests.samples import changed

__all__ = [
    "ROOM",
    "Output",
    "Reported",
    "document",
    "experiment",
    "outputs",
    "processes_below",
    "reported",
    "waits_for",
]

ROOM = 10_000_000
"""Bytes in which every number of rounds that Argo nests has its place."""


def document(script: str, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An Experiment over ``x`` (0 to 99) whose trials run ``script`` with sh; $X is the value."""
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "main",
                            "image": "busybox",
                            "command": ["sh", "-c", script],
                            "env": [{"name": "X", "value": "${trialParameters.x}"}],
                        }
                    ]
                }
            }
        },
    }
    space = {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "0", "max": "99"}}
    return changed(
        {
            "spec.parameters": [space],
            "spec.trialTemplate.trialSpec": job,
            "spec.trialTemplate.trialParameters": [{"name": "x", "reference": "x"}],
            "spec.parallelTrialCount": 3,
            "spec.maxTrialCount": 6,
            **(changes or {}),
        }
    )


def experiment(script: str, changes: Mapping[str, Any] | None = None) -> Experiment:
    """The checked Experiment of `document`."""
    return check_document(document(script, changes), "test")


def waits_for(path: Path | str) -> str:
    """A script's line that waits until there is such a file, for five minutes at most."""
    return f'n=0; while [ ! -e {path} ] && [ "$((n += 1))" -lt 3000 ]; do sleep 0.1; done'


def processes_below(folder: Path) -> list[psutil.Process]:
    """Processes of trials whose folders lie below ``folder``."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get("KATIBFLOW_TRIAL_FOLDER", "")
        except psutil.Error:
            continue
        if mark and Path(mark).is_relative_to(folder.resolve()):
            found.append(process)
    return found


@dataclass
class Output:
    """An output of a step, as KFP gives it; a `steps.files.Artifact`."""

    path: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """What the UI calls it."""
        name: str = self.metadata["display_name"]
        return name

    @property
    def text(self) -> str:
        """What is in the file."""
        return Path(self.path).read_text(encoding="utf-8")


def outputs(folder: Path, *names: str) -> list[Output]:
    """Outputs of these names in a folder."""
    return [Output(str(folder / name)) for name in names]


@dataclass(frozen=True)
class Reported:
    """What the step `report` wrote."""

    page: Output
    text: Output
    metrics: Output
    best: dict[str, str]
    result: dict[str, Any]


def reported(study_path: str, folder: Path) -> Reported:
    """Runs the step `report` on a study; what it writes goes to a folder."""
    page, text, metrics = outputs(folder, "page", "text", "metrics")
    paths = [folder / name for name in ("best", "result")]
    report(study_path, page, text, metrics, *map(str, paths))
    best, result = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    return Reported(page, text, metrics, best, result)
