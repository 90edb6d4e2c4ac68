"""Writes the table of trials as HTML, with what the page's script needs to sort and filter it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from katibflow.report.table import Column, Kind, Output, Row, Style, columns_of, rows_of
from katibflow.report.words import NOTHING, length_text, log_link, message_html, number_text
from katibflow.study.best import best_of
from katibflow.study.history import History

__all__ = ["trials_html"]


def trials_html(history: History, logs: Mapping[int, Mapping[str, str]], is_stopped: bool) -> str:
    """Returns the table of all trials.

    Args:
        history: The history.
        logs: Trial number to replica name to the log's link.
        is_stopped: Whether nobody runs the trials that are on record as running.
    """
    if not history.trials:
        return '<p class="none">No trial has been started.</p>'
    trials = sorted(history.trials, key=lambda trial: trial.number)
    best = best_of(history.experiment.spec.objective, history.trials)
    columns = columns_of(history.experiment, trials, Output.PAGE)
    heads = (f"<th{_side(each)}>{escape(each.heading)}</th>" for each in columns)
    rows_shown = rows_of(history.experiment, trials, logs, best=best, is_stopped=is_stopped)
    rows = (
        f'<tr id="trial-{row.trial.number}"{_BEST if row.is_best else ""}>'
        + "".join(_cell(each, row, best.mark) for each in columns)
        + "</tr>"
        for row in rows_shown
    )
    states = dict.fromkeys(row.state.lower() for row in rows_shown)
    return (
        _filter_html(list(states))
        + '<div class="card scroll"><table id="trials"><thead><tr>'
        + "".join(heads)
        + "</tr></thead><tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _filter_html(states: list[str]) -> str:
    """Returns the fields that filter the table, which the page's script shows and reads."""
    options = "".join(f"<option>{state}</option>" for state in sorted(states))
    return (
        '<p class="filter" id="filter" hidden><label>Find <input type="search" id="find" '
        'placeholder="text in any column"></label> <label>State <select id="state">'
        f'<option value="">all</option>{options}</select></label> '
        '<span id="shown" role="status"></span></p>'
    )


_BEST = ' class="best"'


def _side(column: Column) -> str:
    return ' class="num"' if column.is_number else ""


def _cell(column: Column, row: Row, mark: str) -> str:
    match column.name:
        case "number":
            star = f'<span class="star">{mark}</span>' if row.is_best else ""
            return f'<th scope="row">{row.trial.number}{star}</th>'
        case "state":
            return f"<td>{_state(row)}</td>"
        case "logs":
            links = " ".join(log_link(name, log) for name, log in row.logs.items())
            return f"<td>{links or NOTHING}</td>"
    text = column.cell(row, _STYLE)
    shown = escape(text) or NOTHING
    bold = f"<b>{shown}</b>" if column.is_objective else shown
    return f"<td{_side(column)}{_exact(column, row, text)}>{bold}</td>"


def _exact(column: Column, row: Row, text: str) -> str:
    """Returns an attribute with the exact value where the text rounds it, or for sorting."""
    value = column.value(row)
    if column.kind is Kind.LENGTH and value is not None:
        return f' data-v="{value:g}"'
    if not column.is_number or value is None or not text:
        return ""
    exact = row.trial.assignments.get(column.heading, "") if column.is_parameter else str(value)
    return f' title="{escape(exact)}"' if exact and exact != text else ""


def _state(row: Row) -> str:
    trial, word = row.trial, row.state.lower()
    label = f'<span class="state {word}">{word}</span>'
    if not trial.reason and not trial.message:
        return label
    return (
        f"<details><summary>{label}</summary><p><b>{escape(trial.reason)}</b></p>"
        f"{message_html(trial.message)}</details>"
    )


_STYLE = Style(number=number_text, length=length_text, nothing="")
