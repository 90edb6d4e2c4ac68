"""How a run's result is printed: for people, and as JSON for scripts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from katibflow.history import Trial
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

    objective = run.history.experiment.spec.objective
    best = best_trial(objective, run.history.trials)
    value = objective_value(objective, best) if best else None
    if as_json:
        print(json.dumps(_result_data(run, best, value, page)))
        return
    print(f"{run.ending.reason}: {run.ending.message}")
    if best is None:
        print("no trial has a finite objective value")
    else:
        name = objective.objective_metric_name
        print(f"best trial: {best.number}, {name}={metric_text(value)}")
        for parameter, text in best.assignments.items():
            print(f"  {parameter}={text}")
    print(f"report: {page}")


def _result_data(run: Run, best: Trial | None, value: float | None, page: Path) -> dict[str, Any]:
    counts = Counter(trial.state.value for trial in run.history.trials)
    return {
        "experiment": run.history.experiment.name,
        "succeeded": run.ending.succeeded,
        "reason": run.ending.reason,
        "message": run.ending.message,
        "best": None
        if best is None
        else {
            "trial": best.number,
            "objective": value,
            "assignments": dict(best.assignments),
        },
        "trials": dict(sorted(counts.items())),
        "folder": str(run.folder.path),
        "history": str(run.folder.study),
        "report": str(page),
    }
