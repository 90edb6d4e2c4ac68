"""Katib Experiments as Kubeflow Pipelines driven by Optuna, and on a laptop."""

from __future__ import annotations

from katibflow.reporting import report_metrics

__all__ = ["__version__", "report_metrics"]

__version__ = "0.1.0"
