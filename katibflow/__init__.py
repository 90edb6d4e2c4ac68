"""Katib Experiments as Kubeflow Pipelines driven by Optuna, and on a laptop."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from katibflow.reporting import report_metrics

__all__ = ["Experiment", "Result", "__version__", "report_metrics", "search", "tune"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Imports what a trial that only reports its metrics does not need when it is asked for."""
    if name == "search":
        return import_module("katibflow.search")
    if name in ("Experiment", "tune"):
        return getattr(import_module("katibflow.api"), name)
    if name == "Result":
        return getattr(import_module("katibflow.outcome"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
