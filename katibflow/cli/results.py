"""How a run's result is printed: for people, and as JSON for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from katibflow.runs import Run

__all__ = ["print_result"]


def print_result(run: Run, as_json: bool, page: Path) -> None:
    """Prints how a run ended, its best trial and where its report lies.

    Args:
        run: The run.
        as_json: Whether to print one JSON object instead of lines.
        page: The report.
    """
    from katibflow.board import metric_text
    from katibflow.history import best_trial, objective_value
    from katibflow.result import result_data

    if as_json:
        places = {
            "folder": str(run.folder.path),
            "history": str(run.folder.study),
            "report": str(page),
        }
        print(json.dumps(result_data(run.history, run.ending) | places))
        return
    objective = run.history.experiment.spec.objective
    best = best_trial(objective, run.history.trials)
    value = objective_value(objective, best) if best else None
    print(f"{run.ending.reason}: {run.ending.message}")
    if best is None:
        print("no trial has a finite objective value")
    else:
        name = objective.objective_metric_name
        print(f"best trial: {best.number}, {name}={metric_text(value)}")
        for parameter, text in best.assignments.items():
            print(f"  {parameter}={text}")
    print(f"report: {page}")
