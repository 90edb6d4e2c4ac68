"""Begins a run with the trials of an earlier experiment, from which the sampler learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from katibflow.errors import InputError
from katibflow.printing import counted
from katibflow.study.history import History
from katibflow.study.resume import check_resume
from katibflow.study.warm_start import warmed
from katibflow.suggestion.algorithms import check_warm_start

__all__ = ["with_warm_start"]


def with_warm_start(
    history: History, path: Path | None, read: Callable[[Path], History], source: str
) -> History:
    """Returns the history with the trials of a warm start, which never change after that.

    Args:
        history: The history that the run begins with. One that has such trials keeps them.
        path: The earlier run's folder, or its history file; None for no warm start.
        read: Reads the history at a path.
        source: The name of the Experiment's origin in errors.

    Raises:
        InputError: There is no run at the path, or none of its trials has ended; the algorithm
            learns nothing from it; or this run has begun without a warm start.
        InvalidExperiment: The earlier run has another search space or objective; the error has a
            fault for each difference.
    """
    if path is None or history.warm:
        return history
    check_warm_start(history.experiment)
    if history.trials:
        raise InputError(
            f"--warm-start {path}: found a run that has begun without it, with "
            f"{counted(len(history.trials), 'trial')}; allowed: --fresh, to begin anew, or "
            "another --name"
        )
    earlier = read(path)
    check_resume(source, history.experiment, earlier.experiment, "a run without --warm-start")
    warm = warmed(history, (*earlier.warm, *earlier.trials))
    if warm is None:
        raise InputError(
            f"--warm-start {path}: found no trial that has ended; allowed: a run with one"
        )
    return warm
