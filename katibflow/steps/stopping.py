"""What `finish` does where the library is installed; on Kubernetes the component stands alone."""

from __future__ import annotations

from pathlib import Path

from katibflow.runners.backends import backend_of_steps
from katibflow.steps.files import exits_with_message

__all__ = ["finish"]


@exits_with_message
def finish(experiment: str, run: str = "") -> None:
    """Stops what still runs of a pipeline's run.

    Args:
        experiment: The Experiment's name.
        run: The run's id. Pipelines of version 0.1.0 hand the folder of the run alone, whose name
            is both.
    """
    if not run:
        experiment, _, run = Path(experiment).name.rpartition("-")
    end = backend_of_steps().finish
    if end is not None:
        end(experiment, run)
