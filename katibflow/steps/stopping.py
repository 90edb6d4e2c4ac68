"""The step `finish`, which stops the trials that a run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

from katibflow.errors import KatibflowError
from katibflow.experiment.types import TrialTemplate
from katibflow.runners.backends import backend_of_steps
from katibflow.steps.files import Artifact, exits_with_message
from katibflow.study.resume import run_name

__all__ = ["end_run", "finish", "write_left_logs"]

_MOST = 100_000_000
"""The greatest number of characters of all logs together."""


def end_run(experiment: str, run: str, job: str, logs: Artifact | None) -> None:
    """Stops the trials of a run that is over, after it has written the logs that they still have.

    Args:
        experiment: The Experiment's name, as the run was given it; a wrong one has no trials.
        run: The id that the engine gave the run.
        job: As JSON, the fields of the trialTemplate that say what a trial is and when it ends.
        logs: The output for the logs; None for a run that succeeded, which has its own.
    """
    name = run_name(run)
    if logs is not None:
        _write_logs(experiment, name, job, logs)
    finish(experiment, name, job)


def _write_logs(experiment: str, run: str, job: str, logs: Artifact) -> None:
    """Writes the logs that the trials of a run that failed or was stopped still have.

    A log that cannot be read is no error: what goes on has to be stopped all the same.

    Args:
        experiment: The Experiment's name, as the run was given it.
        run: The run's id.
        job: See `finish`.
        logs: The output folder for the logs, as ``0007.log`` for trial 7.
    """
    folder = Path(logs.path)
    folder.mkdir(parents=True, exist_ok=True)
    write_left_logs(folder, experiment, run, TrialTemplate.model_validate(json.loads(job)))
    logs.metadata["display_name"] = "logs of the trials that were there"


def write_left_logs(folder: Path, experiment: str, run: str, template: TrialTemplate) -> None:
    """Writes the logs of a run's trials that still have pods; tells what cannot be read.

    Args:
        folder: The folder for the logs, as ``0007.log`` for trial 7.
        experiment: The Experiment's name.
        run: The run's id.
        template: The kind of the trials; the rest may be missing.
    """
    size = 0
    try:
        for name, lines in backend_of_steps().left_logs(experiment, run, template):
            text = "".join(f"{line}\n" for line in lines)
            size += len(text)
            if size > _MOST:
                print(f"logs: {name} and those after it are left out, as {_MOST:,} bytes are full")
                break
            (folder / name).write_text(text, encoding="utf-8")
            print(f"log of a trial: {name}")
    except KatibflowError as error:
        print(f"the trials' logs cannot be read: {error}")


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
