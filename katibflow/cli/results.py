"""How a run's result is printed: for people, and as JSON for scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from katibflow.runs.running import Run
    from katibflow.study.history import History

__all__ = ["best_lines", "print_result"]


def print_result(run: Run, as_json: bool, page: Path) -> None:
    """Prints how a run ended, its best trial or the Pareto front, and where its report lies.

    Args:
        run: The run.
        as_json: Whether to print one JSON object instead of lines.
        page: The report.
    """
    from katibflow.report.data import result_data

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
    """The best trial and its assignments, the same of a whole front, or that there is none."""
    from katibflow.progress.status import values_text
    from katibflow.study.objectives import best_trials, none_is_best

    objective = history.experiment.spec.objective
    best = best_trials(objective, history.trials)
    if not best:
        return [none_is_best(objective)]
    lines = [f"Pareto front: {len(best)} trial{'s' if best[1:] else ''}"] if objective.goals else []
    for trial in best:
        title = "trial" if objective.goals else "best trial:"
        lines += [
            f"{title} {trial.number}, {values_text(objective, trial)}",
            *(f"  {parameter}={text}" for parameter, text in trial.assignments.items()),
        ]
    return lines
