"""The name of a trial's job, which every part of katibflow computes here."""

from __future__ import annotations

import hashlib

from katibflow.experiment.job_kinds import name_limit
from katibflow.experiment.types import Experiment

__all__ = ["job_name", "job_prefixes"]

_DIGITS = 6
"""Digits of a trial's number that a shortened name has room for."""

_HASH = 5


def job_name(experiment: Experiment, run: str, number: int) -> str:
    """Returns the name of a trial's job, always the same one for the same arguments.

    A name that is too long for the names that the kind's controllers make from it has a hash in
    place of the end of the experiment's name.

    Args:
        experiment: The experiment, whose name has at most 40 characters.
        run: The run's id, at most 12 characters of a-z and 0-9.
        number: The trial's number, from 0.
    """
    limit = name_limit(experiment.spec.trial_template.trial_spec or {})
    plain, short = (f"{prefix}{number}" for prefix in job_prefixes(experiment.name, run, limit))
    return plain if len(plain) <= limit else short


def job_prefixes(experiment: str, run: str, limit: int) -> tuple[str, str]:
    """Returns what stands before the number in the names of a run's jobs: as it is, and shortened.

    Args:
        experiment: The experiment's name.
        run: The run's id.
        limit: The longest name that the job's kind allows.
    """
    room = limit - _DIGITS - len(f"-{run}-") - _HASH - 1
    digest = hashlib.sha256(experiment.encode()).hexdigest()[:_HASH]
    head = experiment[: max(room, 1)].rstrip("-")
    return f"{experiment}-{run}-", f"{head}-{digest}-{run}-"
