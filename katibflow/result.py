"""What programs are told of how an experiment ended."""

from __future__ import annotations

from collections import Counter
from typing import Any

from katibflow.history import History, best_trial, objective_value
from katibflow.report import Ending

__all__ = ["best_data", "result_data"]


def best_data(history: History) -> dict[str, Any] | None:
    """The best trial as JSON can hold it; None if no trial has a finite objective.

    Returns:
        Its number as ``trial``, its ``objective``, and its ``assignments``: texts, as in Katib.
    """
    objective = history.experiment.spec.objective
    best = best_trial(objective, history.trials)
    if best is None:
        return None
    return {
        "trial": best.number,
        "objective": objective_value(objective, best),
        "assignments": dict(best.assignments),
    }


def result_data(history: History, ending: Ending) -> dict[str, Any]:
    """How an experiment ended, as JSON can hold it.

    Returns:
        ``experiment``: its name; ``succeeded``: None while it runs; ``reason`` and ``message``;
        ``best``: see ``best_data``; ``trials``: how many by state.
    """
    counts = Counter(trial.state.value for trial in history.trials)
    return {
        "experiment": history.experiment.name,
        "succeeded": ending.succeeded,
        "reason": ending.reason,
        "message": ending.message,
        "best": best_data(history),
        "trials": dict(sorted(counts.items())),
    }
