"""The step `finish` where the library is installed; on Kubernetes the component does it alone."""

from __future__ import annotations

from pathlib import Path

from katibflow.runners.backends import backend_of_steps
from katibflow.steps.files import exits_with_message

__all__ = ["finish"]


@exits_with_message
def finish(experiment: str, run: str = "") -> None:
    """Stops the trials of a pipeline's run that still run.

    Args:
        experiment: The Experiment's name.
        run: The run's id. Pipelines of version 0.1.0 pass only ``experiment``, which is then the
            run's folder, whose name has both.
    """
    if not run:
        experiment, _, run = Path(experiment).name.rpartition("-")
    end = backend_of_steps().finish
    if end is not None:
        end(experiment, run)
