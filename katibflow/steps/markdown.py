"""Writes the trials of a study as Markdown, which Kubeflow Pipelines' UI shows at a step."""

from __future__ import annotations

from collections.abc import Iterable

from katibflow.printing import counted
from katibflow.report.table import Output, Style, columns_of, rows_of
from katibflow.study.best import best_of
from katibflow.study.history import History

__all__ = ["markdown"]

_STYLE = Style()


def markdown(title: str, history: History, reason: str) -> str:
    """Returns the best trials and the table of all, under a title.

    Args:
        title: The heading.
        history: The trials.
        reason: Why the experiment ended; "" while it goes on.
    """
    experiment, trials = history.experiment, history.trials
    columns = columns_of(experiment, trials, Output.MARKDOWN)
    lines = [
        f"# {_cell(title)}",
        "",
        f"{counted(len(trials), 'trial')}. {_cell(reason)}".rstrip(),
        "",
    ]
    for sentence in best_of(experiment.spec.objective, trials).sentences():
        lines += [_cell(sentence), ""]
    headings = [each.heading if each.is_given else each.heading.lower() for each in columns]
    lines += [
        _row(map(_cell, headings)),
        _row(["---"] * len(columns)),
        *(
            _row(_cell(column.cell(row, _STYLE)) for column in columns)
            for row in rows_of(experiment, trials)
        ),
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Returns a text on one line, with Markdown's special characters escaped."""
    line = " ".join(text.split())
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|~$!" else char for char in line)
