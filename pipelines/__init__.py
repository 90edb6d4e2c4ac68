"""The DAGs of the layouts in the Kubeflow Pipelines DSL, and `experiment` for users' pipelines.

The tasks of the DAGs are in `components`; `compiler` turns a DAG into a file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["experiment"]

experiment: Callable[..., Any]
"""Makes a whole experiment one task of the pipeline in whose function it is called.

It is ``katibflow.pipeline_task``, whose docstring describes the arguments.
"""


def __getattr__(name: str) -> Any:
    """Imports `experiment` at first use, as the DAGs do not need it."""
    if name == "experiment":
        import katibflow

        return katibflow.pipeline_task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
