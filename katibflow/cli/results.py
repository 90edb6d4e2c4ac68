"""Prints a run's result, for people or as JSON for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from katibflow.cli.tables import age_text, table_lines

if TYPE_CHECKING:
    from katibflow.runs.running import Run
    from katibflow.study.history import History

__all__ = ["best_lines", "print_result", "trial_lines"]


def print_result(run: Run, as_json: bool, page: Path) -> None:
    """Prints how a run ended, its best trial or the Pareto front, and its report's path.

    Args:
        run: The run.
        as_json: Whether to print one JSON object instead of lines.
        page: The report's path.
    """
    from katibflow.report.data import result_data

    if as_json:
        paths = {
            "folder": str(run.folder.path),
            "history": str(run.folder.study),
            "report": str(page),
        }
        print(json.dumps(result_data(run.history, run.ending) | paths))
        return
    print(f"{run.ending.reason}: {run.ending.message}")
    print(*best_lines(run.history), sep="\n")
    print(f"report: {page}")


def best_lines(history: History) -> list[str]:
    """Returns lines with the best trial or the Pareto front, or a line that says there is none."""
    from katibflow.study.best import best_of

    return best_of(history.experiment.spec.objective, history.trials).lines()


def _reason_and_last_line(text: str) -> str:
    """Returns a trial's reason on one line: all of its sentence, and its log's last line.

    The lines before that are in the trial's log; the sentence has the exit code.
    """
    first, *log = text.splitlines() or [""]
    return f"{first} {log[-1]}" if log else first


def trial_lines(history: History) -> list[str]:
    """Returns the lines of the table of trials."""
    from datetime import UTC, datetime

    from katibflow.report.table import Output, Style, columns_of, rows_of
    from katibflow.study.history import time_text

    experiment, trials = history.experiment, history.trials
    columns = columns_of(experiment, trials, Output.SHOW)
    style = Style(length=age_text, message=_reason_and_last_line)
    head = [each.heading if each.is_given else each.heading.upper() for each in columns]
    rows = rows_of(experiment, trials, now=time_text(datetime.now(UTC)))
    return table_lines(head, [[each.cell(row, style) for each in columns] for row in rows])
