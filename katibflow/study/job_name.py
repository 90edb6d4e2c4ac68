"""The name of a trial's job, which every part of katibflow computes here."""

from __future__ import annotations

__all__ = ["job_name"]


def job_name(experiment: str, run: str, number: int) -> str:
    """Returns the name of a trial's job, always the same one for the same arguments.

    Args:
        experiment: The experiment's name, at most 40 characters.
        run: The run's id, at most 12 characters of a-z and 0-9.
        number: The trial's number, from 0.
    """
    return f"{experiment}-{run}-{number}"
