"""Runs Katib Experiments with Optuna, on a laptop, on Kubernetes or in Kubeflow Pipelines.

This module offers the public API for Python and imports each part of it when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from katibflow.reporting import report_metrics

__all__ = ["Experiment", "Result", "Run", "__version__", "report_metrics", "search", "tune"]

__version__ = "0.1.0"


_LATER = {
    "Experiment": "katibflow.api.experiment",
    "Result": "katibflow.api.result",
    "Run": "katibflow.api.run",
    "pipeline_task": "katibflow.api.pipeline_task",
    "tune": "katibflow.api.tuning",
}
"""Maps each public name to its module. A trial that only reports metrics imports none of them."""


def __getattr__(name: str) -> Any:
    """Imports a public name when it is used for the first time."""
    if name == "search":
        return import_module("katibflow.search")
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
