"""The functions that a pipeline's steps call, one for each component, of the same name.

A component puts the packed library on ``sys.path`` and calls its function with plain values and
paths. The steps hand on the study as a folder (`katibflow.steps.files`). The room also has the
table of run parameters and the size of a run. The components and DAGs are in `components` and
`pipelines`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from katibflow.steps.tasks import (
        collector,
        controller,
        end_run,
        finish,
        launcher,
        loop,
        report,
        report_at_end,
        start,
        stopped_with_its_run,
        study_at_end,
        suggestion,
        summary,
    )

__all__ = [
    "collector",
    "controller",
    "end_run",
    "finish",
    "launcher",
    "loop",
    "report",
    "report_at_end",
    "start",
    "stopped_with_its_run",
    "study_at_end",
    "suggestion",
    "summary",
]


def __getattr__(name: str) -> Any:
    """Imports the steps at first use, as the command line needs only `run_parameters`."""
    if name in __all__:
        from katibflow.steps import tasks

        return getattr(tasks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
