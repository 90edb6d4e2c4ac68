"""The DAGs, in the Kubeflow Pipelines DSL, and an experiment as a task of another pipeline."""

from __future__ import annotations

from typing import Any

__all__ = ["experiment"]


def __getattr__(name: str) -> Any:
    """Imports what makes the task when it is asked for: a DAG needs nothing of it."""
    if name == "experiment":
        import katibflow

        return katibflow.pipeline_task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
