"""Katib Experiments as Kubeflow Pipelines driven by Optuna, and on a laptop."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
