"""The step `finish`, which stops the trials that a run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

from katibflow.experiment.types import TrialTemplate
from katibflow.runners.backends import backend_of_steps
from katibflow.steps.files import exits_with_message

__all__ = ["finish"]


@exits_with_message
def finish(experiment: str, run: str = "", job: str = "{}") -> None:
    """Stops the trials of a pipeline's run that still run, and puts them on record as interrupted.

    Args:
        experiment: The Experiment's name, as the run was given it; a wrong one has no trials.
        run: The run's id. Pipelines of version 0.1.0 pass only ``experiment``, which is then the
            run's folder, whose name has both.
        job: As JSON, the fields of the trialTemplate that say what a trial is and when it ends.
    """
    if not run:
        experiment, _, run = Path(experiment).name.rpartition("-")
    template = TrialTemplate.model_validate(json.loads(job))
    for name in backend_of_steps().finish(experiment, run, template):
        print(f"stopped {name}")
