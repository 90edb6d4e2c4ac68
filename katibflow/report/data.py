"""The best trials, all trials and the ending of an experiment as data that JSON can hold."""

from __future__ import annotations

from collections import Counter
from typing import Any

from katibflow.report.table import Output, columns_of, rows_of
from katibflow.study.best import best_of
from katibflow.study.ending import Ending
from katibflow.study.history import History, trial_to_data

__all__ = ["best_data", "result_data", "trials_data"]


def best_data(history: History) -> dict[str, Any]:
    """Returns the best trials as JSON can hold them; see `Best.data`."""
    return best_of(history.experiment.spec.objective, history.trials).data()


def trials_data(history: History) -> list[dict[str, Any]]:
    """Returns all trials as JSON can hold them: their records, with the table's JSON columns."""
    columns = columns_of(history.experiment, history.trials, Output.JSON)
    return [
        {
            **trial_to_data(row.trial),
            **{each.name: value for each in columns if (value := each.value(row)) is not None},
        }
        for row in rows_of(history.experiment, history.trials)
    ]


def result_data(history: History, ending: Ending) -> dict[str, Any]:
    """Returns how an experiment ended, as JSON can hold it.

    Returns:
        ``experiment`` (the name), ``succeeded`` (None if it has not ended), ``reason``,
        ``message``, ``best`` or ``front`` (see `Best.data`), and ``trials`` (the number of trials
        by state).
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
