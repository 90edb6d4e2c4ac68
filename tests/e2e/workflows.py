"""What the backend of Kubeflow Pipelines makes of a compiled file, as far as a step can see it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import yaml

__all__ = ["implementations", "workflow"]


def implementations(text: str) -> dict[str, str]:
    """The containers of a compiled file as parameters of a Workflow: equal ones stand there once.

    Source: ``saveComponentImpl`` in KFP's ``backend/src/v2/compiler/argocompiler/argo.go``; Go's
    JSON has <, > and & escaped.
    """
    spec = next(yaml.safe_load_all(text))
    made = {}
    for executor in spec["deploymentSpec"]["executors"].values():
        value = json.dumps(executor["container"], separators=(",", ":"), sort_keys=True)
        for char in "<>&":
            value = value.replace(char, f"\\u{ord(char):04x}")
        made[f"implementations-{hashlib.sha256(value.encode()).hexdigest()}"] = value
    return made


def workflow(name: str, run: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """A Workflow object of a run."""
    listed = [{"name": key, "value": value} for key, value in parameters.items()]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name, "labels": {"pipeline/runid": run}},
        "spec": {"entrypoint": "entrypoint", "arguments": {"parameters": listed}},
    }
