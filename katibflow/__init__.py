"""Katib Experiments as Kubeflow Pipelines driven by Optuna, and on a laptop."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from katibflow.reporting import report_metrics

__all__ = ["Experiment", "Result", "__version__", "report_metrics", "search", "tune"]

__version__ = "0.1.0"


_LATER = {
    "Experiment": "katibflow.api.experiment",
    "Result": "katibflow.api.result",
    "pipeline_task": "katibflow.api.pipeline_task",
    "tune": "katibflow.api.experiment",
}
"""What a trial that only reports its metrics does not need: name to the module that has it."""


def __getattr__(name: str) -> Any:
    """Imports what is asked for."""
    if name == "search":
        return import_module("katibflow.search")
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
