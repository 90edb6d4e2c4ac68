"""Prints a run's result, for people or as JSON for scripts."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from katibflow.cli.tables import COLUMN_GAP, age_text, table_lines
from katibflow.printing import say

if TYPE_CHECKING:
    from katibflow.runs.running import Run
    from katibflow.study.failures import Failure
    from katibflow.study.history import History

__all__ = ["best_lines", "has_best", "print_result", "terminal_width", "trial_lines"]

_MOST_FAILURES = 5
"""Causes of failures that are listed at the end of a run."""


def print_result(run: Run, as_json: bool, page: Path) -> None:
    """Prints how a run ended, its best trial or the Pareto front, and its report's path.

    Args:
        run: The run.
        as_json: Whether to print one JSON object instead of lines.
        page: The report's path.
    """
    from katibflow.report.data import result_data
    from katibflow.study.failures import failures_of, succeeded_text

    if as_json:
        paths = {
            "folder": str(run.folder.path),
            "history": str(run.folder.study),
            "report": str(page),
        }
        failures = [
            {
                "reason": each.reason,
                "cause": each.cause,
                "trials": [trial.number for trial in each.trials],
                "log": None if (log := run.log_of(each)) is None else str(log),
            }
            for each in failures_of(run.history.trials)
        ]
        data = result_data(run.history, run.ending)
        print(json.dumps({**data, "failures": failures, **paths}))
        return
    say(f"{run.ending.reason}: {run.ending.message}")
    if run.gave_nothing:
        # What went wrong comes last, where it is read.
        say(f"report: {page}", *_nothing_lines(run))
        return
    share = succeeded_text(run.history.trials)
    say(*([share] if share else []), *best_lines(run.history))
    say(*_kept_lines(run.history), *_failure_lines(run), f"report: {page}")


def _kept_lines(history: History) -> list[str]:
    return [line for each in history.kept for line in each.lines()]


def _failure_lines(run: Run) -> list[str]:
    """Returns lines that list the failures by their causes, with a log of each."""
    from katibflow.study.failures import failures_of

    found = failures_of(run.history.trials)
    lines = ["failures:"] if found else []
    for each in found[:_MOST_FAILURES]:
        lines += [f"  {each.text}", f"    {_log_text(run, each)}"]
    if len(found) > _MOST_FAILURES:
        lines.append(f"  and {len(found) - _MOST_FAILURES} other causes, in the report")
    return lines


def _nothing_lines(run: Run) -> list[str]:
    """Returns lines about the commonest cause, for a run in which no trial gave a value."""
    from katibflow.study.failures import failures_of

    found = failures_of(run.history.trials)
    (none,) = best_lines(run.history)
    if not found:
        reasons = Counter(trial.message for trial in run.history.trials if trial.message)
        return [none, *(f"  {text}" for text, _ in reasons.most_common(1))]
    most = found[0]
    last = most.trials[0].message.split("\n")
    return [f"{none}; {most.text}", *(f"  {line}" for line in last), _log_text(run, most)]


def _log_text(run: Run, failure: Failure) -> str:
    path = run.log_of(failure)
    return f"log: {path}" if path is not None else "log: none"


def best_lines(history: History) -> list[str]:
    """Returns lines with the best trial or the Pareto front, or a line that says there is none."""
    from katibflow.study.best import best_of

    return best_of(history.experiment.spec.objective, history.trials).lines()


def has_best(history: History) -> bool:
    """Returns whether a trial is best: has a value, and breaks no constraint."""
    from katibflow.study.best import best_of

    return bool(best_of(history.experiment.spec.objective, history.trials).trials)


def _reason_and_last_line(text: str) -> str:
    """Returns a trial's reason on one line: all of its sentence, and its log's last line.

    The lines before that are in the trial's log; the sentence has the exit code.
    """
    first, *log = text.splitlines() or [""]
    return f"{first} {log[-1]}" if log else first


def trial_lines(history: History, width: int | None = None, is_stopped: bool = False) -> list[str]:
    """Returns the lines of the table of trials.

    Args:
        history: The study history.
        width: The characters of a line, to which parameters give way; None for all columns. The
            reason, which comes last, stays whole and may go on in the next line.
        is_stopped: Whether nobody runs the trials that are on record as running.
    """
    from datetime import UTC, datetime

    from katibflow.report.table import Column, Output, Style, columns_of, fitting, rows_of
    from katibflow.study.history import time_text

    experiment, trials = history.experiment, history.trials
    every = columns_of(experiment, trials, Output.SHOW)
    style = Style(length=age_text, message=_reason_and_last_line)
    now = time_text(datetime.now(UTC))
    rows = rows_of(experiment, trials, now=now, is_stopped=is_stopped)

    def needed(column: Column) -> int:
        if column.name == "reason":
            return 0
        cells = [column.heading, *(column.cell(row, style) for row in rows)]
        return max(map(len, cells)) + len(COLUMN_GAP)

    columns = every if width is None else fitting(every, needed, width)
    head = [each.heading if each.is_given else each.heading.upper() for each in columns]
    lines = table_lines(head, [[each.cell(row, style) for each in columns] for row in rows])
    left_out = [each.heading for each in every if each not in columns]
    return [*lines, f"(no room for {', '.join(left_out)})"] if left_out else lines


def terminal_width() -> int | None:
    """Returns the characters of a line of the terminal; None if the output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
