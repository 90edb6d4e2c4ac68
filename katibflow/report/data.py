"""What programs are told of how an experiment ended."""

from __future__ import annotations

from collections import Counter
from typing import Any

from katibflow.study.ending import Ending
from katibflow.study.history import History
from katibflow.study.objectives import best_trials, objective_values

__all__ = ["best_data", "result_data"]


def best_data(history: History) -> dict[str, Any]:
    """What is best as JSON can hold it; assignments are texts, as in Katib.

    Returns:
        With one objective ``best``: the best trial's number as ``trial``, its ``objective`` and its
        ``assignments``; None if there is none. With several ``front``, the Pareto front: a list of
        ``trial``, ``objectives`` (by metric) and ``assignments``, the best in the first objective
        first.
    """
    objective = history.experiment.spec.objective
    metrics = [aim.metric for aim in objective.aims]
    found: list[dict[str, Any]] = []
    for trial in best_trials(objective, history.trials):
        values = objective_values(objective, trial)
        reached = (
            {"objectives": dict(zip(metrics, values, strict=True))}
            if objective.goals
            else {"objective": values[0]}
        )
        found.append({"trial": trial.number, **reached, "assignments": dict(trial.assignments)})
    return {"front": found} if objective.goals else {"best": found[0] if found else None}


def result_data(history: History, ending: Ending) -> dict[str, Any]:
    """How an experiment ended, as JSON can hold it.

    Returns:
        ``experiment``: its name; ``succeeded``: None while it runs; ``reason`` and ``message``;
        ``best`` or ``front``: see ``best_data``; ``trials``: how many by state.
    """
    counts = Counter(trial.state.value for trial in history.trials)
    return {
        "experiment": history.experiment.name,
        "succeeded": ending.succeeded,
        "reason": ending.reason,
        "message": ending.message,
        **best_data(history),
        "trials": dict(sorted(counts.items())),
    }
