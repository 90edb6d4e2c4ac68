"""What programs are told of how an experiment ended."""

from __future__ import annotations

from collections import Counter
from typing import Any

from katibflow.report.table import Output, columns_of, rows_of
from katibflow.study.best import best_of
from katibflow.study.ending import Ending
from katibflow.study.history import History, trial_to_data

__all__ = ["best_data", "result_data", "trials_data"]


def best_data(history: History) -> dict[str, Any]:
    """Returns what is best as JSON can hold it; see `Best.data`."""
    return best_of(history.experiment.spec.objective, history.trials).data()


def trials_data(history: History) -> list[dict[str, Any]]:
    """Returns all trials as JSON can hold them: their records, and what the table has beside."""
    columns = columns_of(history.experiment, history.trials, Output.JSON)
    return [
        {
            **trial_to_data(row.trial),
            **{each.name: value for each in columns if (value := each.value(row)) is not None},
        }
        for row in rows_of(history.experiment, history.trials)
    ]


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
