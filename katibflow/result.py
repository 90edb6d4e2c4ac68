"""What programs are told of how an experiment ended."""

from __future__ import annotations

from collections import Counter
from typing import Any

from katibflow.history import History, best_trial, objective_value
from katibflow.report import Ending

__all__ = ["result_data"]


def result_data(history: History, ending: Ending) -> dict[str, Any]:
    """How an experiment ended, as JSON can hold it.

    Returns:
        ``experiment``: its name; ``succeeded``: None while it runs; ``reason`` and ``message``;
        ``best``: None if no trial has a finite objective, else its ``trial`` number, ``objective``
        and ``assignments``, which are texts as in Katib; ``trials``: how many by state.
    """
    objective = history.experiment.spec.objective
    best = best_trial(objective, history.trials)
    counts = Counter(trial.state.value for trial in history.trials)
    return {
        "experiment": history.experiment.name,
        "succeeded": ending.succeeded,
        "reason": ending.reason,
        "message": ending.message,
        "best": None
        if best is None
        else {
            "trial": best.number,
            "objective": objective_value(objective, best),
            "assignments": dict(best.assignments),
        },
        "trials": dict(sorted(counts.items())),
    }
