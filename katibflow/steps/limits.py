"""What one run of the layout `rounds` can hold, whatever the Experiment says."""

from __future__ import annotations

import math

from katibflow.errors import InputError
from katibflow.experiment import Experiment

__all__ = ["MANY_TRIALS", "MAX_ROUNDS", "check_rounds"]

MAX_ROUNDS = 90
"""Argo stops a recursion at depth 100; each round is one level, the steps inside six more."""

MANY_TRIALS = 200
"""Argo keeps a workflow in 1 MB, and each trial takes 5 KB of it."""


def check_rounds(experiment: Experiment, ended: int = 0) -> None:
    """Refuses an experiment that needs more rounds than a run can hold.

    Args:
        experiment: What is to be run.
        ended: How many of its trials have ended before.

    Raises:
        InputError: The trials that are left / parallelTrialCount is above `MAX_ROUNDS`.
    """
    most, parallel = experiment.spec.max_trial_count, experiment.spec.parallelism
    left = 0 if most is None else most - ended
    if math.ceil(left / parallel) <= MAX_ROUNDS:
        return
    raise InputError(
        f"spec.parallelTrialCount: found {parallel}, with which {left} trials take "
        f"{math.ceil(left / parallel)} rounds; allowed: at least {math.ceil(left / MAX_ROUNDS)}, "
        f"since one run of the layout rounds holds {MAX_ROUNDS} rounds (or a smaller "
        "maxTrialCount, or `katibflow compile --layout controller`, which has no rounds)"
    )
