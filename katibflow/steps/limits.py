"""What one run of the pipeline can hold, whatever the Experiment says."""

from __future__ import annotations

import math

from katibflow.errors import InputError
from katibflow.experiment import Experiment

__all__ = ["MANY_TRIALS", "MAX_ROUNDS", "check_rounds"]

MAX_ROUNDS = 90
"""Argo stops a recursion at depth 100; each round is one level, the steps inside six more."""

MANY_TRIALS = 200
"""Argo keeps a workflow in 1 MB, and each trial takes 5 KB of it."""


def check_rounds(experiment: Experiment) -> None:
    """Refuses an experiment that needs more rounds than a run can hold.

    Raises:
        InputError: maxTrialCount / parallelTrialCount is above `MAX_ROUNDS`.
    """
    most, parallel = experiment.spec.max_trial_count, experiment.spec.parallelism
    if most is None or math.ceil(most / parallel) <= MAX_ROUNDS:
        return
    raise InputError(
        f"spec.parallelTrialCount: found {parallel}, with which {most} trials take "
        f"{math.ceil(most / parallel)} rounds; allowed: at least {math.ceil(most / MAX_ROUNDS)}, "
        f"since one run of the pipeline holds {MAX_ROUNDS} rounds (or a smaller maxTrialCount)"
    )
