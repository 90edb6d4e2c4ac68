"""Experiments as plain data for the tests: small, right, and easy to make wrong."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from katibflow.experiment.types import Experiment
from tests.paths import ROOT

SEED_FILE = ROOT / "examples" / "seed.yaml"

JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {"name": "main", "image": "i", "args": ["--lr=${trialParameters.lr}"]}
                ]
            }
        }
    },
}

DOCUMENT: dict[str, Any] = {
    "apiVersion": "kubeflow.org/v1beta1",
    "kind": "Experiment",
    "metadata": {"name": "sample"},
    "spec": {
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "algorithm": {"algorithmName": "random"},
        "parameters": [
            {
                "name": "lr",
                "parameterType": "double",
                "feasibleSpace": {"min": "0.1", "max": "0.5"},
            }
        ],
        "trialTemplate": {
            "primaryContainerName": "main",
            "trialParameters": [{"name": "lr", "reference": "lr"}],
            "trialSpec": JOB,
        },
    },
}

ABSENT = object()
"""As a value in `changed`: the key is taken out."""


def changed(changes: Mapping[str, Any] | None = None, base: object = DOCUMENT) -> dict[str, Any]:
    """A copy with values set by path, as ``spec.parameters.0.name``; a slash instead of a dot
    separates too, for keys that hold dots."""
    document: Any = copy.deepcopy(base)
    for path, value in (changes or {}).items():
        steps = path.split("/") if "/" in path else path.split(".")
        place = document
        for step in steps[:-1]:
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        last: Any = int(steps[-1]) if isinstance(place, list) else steps[-1]
        if value is ABSENT:
            del place[last]
        elif isinstance(place, list) and last == len(place):
            place.append(copy.deepcopy(value))
        else:
            place[last] = copy.deepcopy(value)
    assert isinstance(document, dict)
    return document


def experiment(changes: Mapping[str, Any] | None = None) -> Experiment:
    """The sample experiment with changes."""
    return Experiment.model_validate(changed(changes))
