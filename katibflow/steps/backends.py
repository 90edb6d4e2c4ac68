"""Makes the runner of a step's trials, and finds the trials of earlier runs."""

from __future__ import annotations

from collections.abc import Iterator

from katibflow.runners.backends import backend_of_steps
from katibflow.runners.base import Runner
from katibflow.study.history import History
from katibflow.study.resume import EarlierTrial

__all__ = ["earlier_trials", "runner_for"]


def runner_for(history: History) -> Runner:
    """Returns the runner of this run's trials.

    Raises:
        InputError: ``KATIBFLOW_RUNNER`` names no backend.
        RunnerError: That backend cannot be used here.
    """
    return backend_of_steps().step_runner(history)


def earlier_trials(history: History) -> Iterator[EarlierTrial]:
    """Yields all trials on record of the Experiment's name; reads nothing before the first.

    Raises:
        InputError: ``KATIBFLOW_RUNNER`` names no backend.
        RunnerError: The records cannot be read.
    """
    yield from backend_of_steps().earlier(history)
