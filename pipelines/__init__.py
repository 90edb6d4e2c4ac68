"""The DAGs, in the Kubeflow Pipelines DSL, and an experiment as a task of another pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["experiment"]

experiment: Callable[..., Any]
"""Makes a whole experiment one task of the pipeline in whose function it is called.

It is ``katibflow.api.pipeline_task``, which says what it takes.
"""


def __getattr__(name: str) -> Any:
    """Imports what makes the task when it is asked for: a DAG needs nothing of it."""
    if name == "experiment":
        import katibflow

        return katibflow.pipeline_task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
