"""The checkpoint folders that trials of population based training hand on to each other."""

from __future__ import annotations

from dataclasses import dataclass

from katibflow.experiment.types import Experiment
from katibflow.study.history import Trial

__all__ = [
    "FOLDER_SETTING",
    "GENERATION",
    "GENERATION_LABEL",
    "PARENT",
    "PARENT_LABEL",
    "Checkpoint",
    "checkpoint_of",
    "checkpoint_path",
]

GENERATION_LABEL = "pbt.suggestion.katib.kubeflow.org/generation"
PARENT_LABEL = "pbt.suggestion.katib.kubeflow.org/parent"
"""Katib's labels of the job; the parent's value is the name of the parent's job."""

FOLDER_SETTING = "suggestion_trial_dir"
"""The algorithm's setting with the folder's path in the containers."""

GENERATION = "pbt:generation"
PARENT = "pbt:parent"
"""A trial's attributes: its generation, from 0, and the number of the trial it goes on from."""


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint folder that a runner must give to a trial.

    Every replica of the trial finds its own folder at ``path``, which outlives the trial: later
    trials may start from it. It is empty at first, or a copy of the parent's folder as that stood
    when the parent had ended. A trial that is created anew under its number gets it afresh.

    Attributes:
        path: Where the trial's containers see it; the setting ``suggestion_trial_dir``.
        generation: The generation, from 0.
        parent: Number of the trial whose folder is copied; None: it starts empty.
    """

    path: str
    generation: int
    parent: int | None


def checkpoint_path(experiment: Experiment) -> str | None:
    """Returns where the containers see their checkpoint folder, or None if they have none."""
    settings = {entry.name: entry.value for entry in experiment.spec.algorithm.algorithm_settings}
    return settings.get(FOLDER_SETTING)


def checkpoint_of(experiment: Experiment, trial: Trial) -> Checkpoint | None:
    """Returns a trial's checkpoint folder, or None if no population based training made it."""
    path, generation = checkpoint_path(experiment), trial.attributes.get(GENERATION)
    if path is None or not isinstance(generation, int):
        return None
    parent = trial.attributes.get(PARENT)
    return Checkpoint(path, generation, parent if isinstance(parent, int) else None)
