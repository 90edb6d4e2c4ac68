"""What the pipeline's components call: one function a step, plain values and paths in and out.

A component puts the packed library on ``sys.path`` and calls the function of its own name. The
study travels between the steps as a folder (`katibflow.steps.files`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from katibflow.steps.tasks import (
        collector,
        controller,
        finish,
        launcher,
        loop,
        report,
        start,
        suggestion,
        summary,
    )

__all__ = [
    "collector",
    "controller",
    "finish",
    "launcher",
    "loop",
    "report",
    "start",
    "suggestion",
    "summary",
]


def __getattr__(name: str) -> Any:
    """Imports the steps when one is asked for: the command line reads the run's parameters here."""
    if name in __all__:
        from katibflow.steps import tasks

        return getattr(tasks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
