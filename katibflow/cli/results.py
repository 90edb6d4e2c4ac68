"""How a run's result is printed: for people, and as JSON for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from katibflow.history import History
    from katibflow.runs import Run

__all__ = ["best_lines", "print_result"]


def print_result(run: Run, as_json: bool, page: Path) -> None:
    """Prints how a run ended, its best trial and where its report lies.

    Args:
        run: The run.
        as_json: Whether to print one JSON object instead of lines.
        page: The report.
    """
    from katibflow.result import result_data

    if as_json:
        places = {
            "folder": str(run.folder.path),
            "history": str(run.folder.study),
            "report": str(page),
        }
        print(json.dumps(result_data(run.history, run.ending) | places))
        return
    print(f"{run.ending.reason}: {run.ending.message}")
    print(*best_lines(run.history), sep="\n")
    print(f"report: {page}")


def best_lines(history: History) -> list[str]:
    """The best trial and its assignments, or that there is none."""
    from katibflow.board import metric_text
    from katibflow.history import best_trial, objective_value

    objective = history.experiment.spec.objective
    best = best_trial(objective, history.trials)
    if best is None:
        return ["no trial has a finite objective value"]
    value = metric_text(objective_value(objective, best))
    return [
        f"best trial: {best.number}, {objective.objective_metric_name}={value}",
        *(f"  {parameter}={text}" for parameter, text in best.assignments.items()),
    ]
