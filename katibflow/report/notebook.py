"""Writes an Experiment and a result as small pieces of HTML, as notebooks show a value."""

from __future__ import annotations

from html import escape

from katibflow.experiment.types import Experiment
from katibflow.report.architecture import architecture_html
from katibflow.report.cards import badge_of, best_html, space_html
from katibflow.report.table import Output, Style, columns_of, rows_of
from katibflow.report.words import length_text, number_text
from katibflow.study.best import best_of
from katibflow.study.ending import Ending
from katibflow.study.failures import succeeded_text
from katibflow.study.history import History, Trial
from katibflow.study.objectives import aims_texts, finite_values

__all__ = ["experiment_html", "result_html"]

_MOST_TRIALS = 10


def experiment_html(experiment: Experiment) -> str:
    """Returns an Experiment: its name, objective, algorithm and search space."""
    facts = [
        *aims_texts(experiment.spec.objective),
        f"algorithm {experiment.spec.algorithm.algorithm_name}",
    ]
    return (
        f"<p><b>{escape(experiment.name)}</b>: {escape(', '.join(facts))}</p>"
        f"{space_html(experiment)}"
    )


def result_html(history: History, ending: Ending) -> str:
    """Returns a result: how it ended, its best trial, and a table of the best trials."""
    word, _ = badge_of(history, ending)
    share = succeeded_text(history.trials)
    return (
        f"<p><b>{escape(history.experiment.name)}</b>: {word}. {escape(ending.message)}</p>"
        + (f"<p>{escape(share)}</p>" if share else "")
        + best_html(history)
        + architecture_html(history)
        + _table_html(history)
    )


def _table_html(history: History) -> str:
    """Returns the trials with the best values of the first objective, and how many there are."""
    objective = history.experiment.spec.objective
    sign = objective.aims[0].sign

    def rank(trial: Trial) -> tuple[bool, float, int]:
        values = finite_values(objective, trial)
        return values is None, sign * values[0] if values else 0.0, trial.number

    shown = sorted(history.trials, key=rank)[:_MOST_TRIALS]
    columns = columns_of(history.experiment, shown, Output.SHOW)
    style = Style(number=number_text, length=length_text)
    best = best_of(objective, history.trials)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(each.cell(row, style))}</td>" for each in columns) + "</tr>"
        for row in rows_of(history.experiment, shown, best=best)
    )
    head = "".join(f"<th>{escape(each.heading)}</th>" for each in columns)
    more = len(history.trials) - len(shown)
    rest = f"<p>and {more} more trials: <code>result.trials_dataframe()</code></p>" if more else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{rest}"
