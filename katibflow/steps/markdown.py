"""The trials of a study as Markdown, which the UI of Kubeflow Pipelines shows beside a step."""

from __future__ import annotations

import math
from collections.abc import Iterable

from katibflow.study.history import History, Trial
from katibflow.study.objectives import best_trials, objective_values

__all__ = ["markdown", "values_of"]


def markdown(title: str, history: History, said: str) -> str:
    """The best trials and the table of all, under a title.

    Args:
        title: The heading.
        history: The trials.
        said: Why the experiment ended; empty while it goes on.
    """
    objective = history.experiment.spec.objective
    names = [parameter.name for parameter in history.experiment.spec.parameters]
    metrics = [aim.metric for aim in objective.aims]
    lines = [f"# {_cell(title)}", "", f"{len(history.trials)} trials. {_cell(said)}".rstrip(), ""]
    for best in best_trials(objective, history.trials):
        chosen = ", ".join(f"{name}={value}" for name, value in best.assignments.items())
        paired = zip(metrics, values_of(history, best), strict=True)
        reached = ", ".join(f"{metric} {value:g}" for metric, value in paired)
        title = "On the Pareto front" if objective.goals else "Best"
        lines += [f"{title}: trial {best.number}, {_cell(f'{reached} with {chosen}')}", ""]
    lines += [
        _row(["trial", "state", *metrics, *names]),
        _row(["---"] * (2 + len(metrics) + len(names))),
        *(
            _row(
                [
                    str(trial.number),
                    f"{trial.state} {trial.reason}".rstrip(),
                    *map(_number, values_of(history, trial)),
                    *(trial.assignments.get(name, "") for name in names),
                ]
            )
            for trial in history.trials
        ),
    ]
    return "\n".join(lines) + "\n"


def values_of(history: History, trial: Trial) -> list[float]:
    """A trial's value of each objective, NaN where it has none."""
    values = objective_values(history.experiment.spec.objective, trial)
    return [math.nan if value is None else value for value in values]


def _number(value: float) -> str:
    return f"{value:g}" if math.isfinite(value) else "-"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Text that Markdown takes as it is, on one line."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|~$!" else char for char in line)
