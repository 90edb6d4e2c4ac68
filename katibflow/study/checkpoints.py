"""The checkpoint folder of each trial of population based training; runners make and copy it."""

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
"""The algorithm's setting that holds the folder's path in the containers."""

GENERATION = "pbt:generation"
PARENT = "pbt:parent"
"""A trial's attributes: its generation, from 0, and the number of the trial it continues."""


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint folder that a runner must give to a trial.

    Every replica of the trial finds its own folder at ``path``. The folder outlives the trial, and
    later trials may start from it. At first the folder is empty, or a copy of the parent's folder
    as it was at the parent's end. A trial that is created again under its number gets a new folder.

    Attributes:
        path: The folder's path in the trial's containers; the setting ``suggestion_trial_dir``.
        generation: The trial's generation, from 0.
        parent: The number of the trial whose folder is copied; None for an empty folder.
    """

    path: str
    generation: int
    parent: int | None


def checkpoint_path(experiment: Experiment) -> str | None:
    """Returns the checkpoint folder's path in the containers, or None if they have no folder."""
    settings = {entry.name: entry.value for entry in experiment.spec.algorithm.algorithm_settings}
    return settings.get(FOLDER_SETTING)


def checkpoint_of(experiment: Experiment, trial: Trial) -> Checkpoint | None:
    """Returns a trial's checkpoint folder, or None outside of population based training."""
    path, generation = checkpoint_path(experiment), trial.attributes.get(GENERATION)
    if path is None or not isinstance(generation, int):
        return None
    parent = trial.attributes.get(PARENT)
    return Checkpoint(path, generation, parent if isinstance(parent, int) else None)
