"""Writes the table of trials as HTML, with what the page's script needs to sort and filter it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from html import escape

from katibflow.report.table import Column, Kind, Output, Row, Style, columns_of, rows_of
from katibflow.report.words import NOTHING, length_text, log_link, message_html, number_text
from katibflow.study.best import best_of
from katibflow.study.history import History

__all__ = ["trials_html"]

_MOST_ROWS = 1000
"""Rows of a table that stand in the page as they are; more of them are packed."""

_FIRST_ROWS = 100
"""Rows that a reader without JavaScript sees of a packed table, and of the best trials again."""


def trials_html(history: History, logs: Mapping[int, Mapping[str, str]], is_stopped: bool) -> str:
    """Returns the table of all trials.

    The rows of very many trials are packed (zlib, base64), since they repeat each other: the page's
    script unpacks them and shows them by pages. The first ones stand there as they are.

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
    cells = [_cell(each, best.mark) for each in columns]
    rows = [
        f'<tr id="trial-{row.trial.number}"{_BEST if row.is_best else ""}>'
        + "".join([cell(row) for cell in cells])
        + "</tr>"
        for row in rows_shown
    ]
    is_packed = len(rows) > _MOST_ROWS
    first = _first_rows(rows, rows_shown) if is_packed else rows
    states = dict.fromkeys(row.state.lower() for row in rows_shown)
    return (
        _filter_html(list(states))
        + (_packed_html(rows, len(first)) if is_packed else "")
        + '<div class="card scroll"><table id="trials"><thead><tr>'
        + "".join(heads)
        + "</tr></thead><tbody>\n"
        + "\n".join(first)
        + "\n</tbody></table></div>"
    )


def _first_rows(rows: Sequence[str], shown: Sequence[Row]) -> list[str]:
    best = [index for index, row in enumerate(shown) if row.is_best and index >= _FIRST_ROWS]
    return [*rows[:_FIRST_ROWS], *(rows[index] for index in best[:_FIRST_ROWS])]


def _packed_html(rows: Sequence[str], there: int) -> str:
    """Returns all rows packed, and what a reader is told who does not see them all."""
    packed = base64.b64encode(zlib.compress("".join(rows).encode("utf-8", "replace"))).decode()
    return (
        f'<p class="none" id="part">The table shows {there} of {len(rows):,} trials; the page\'s '
        'script unpacks the others.</p><p class="filter" id="pages" hidden>'
        '<button type="button" id="back">&lsaquo; before</button> <span id="where"></span> '
        '<button type="button" id="on">next &rsaquo;</button></p>'
        f'<script type="text/plain" id="packed">{packed}</script>'
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


def _cell(column: Column, mark: str) -> Callable[[Row], str]:
    """Returns what writes a column's cell of a row."""
    match column.name:
        case "number":
            star = f'<span class="star">{mark}</span>'
            return lambda row: (
                f'<th scope="row">{row.trial.number}{star if row.is_best else ""}</th>'
            )
        case "state":
            return lambda row: f"<td>{_state(row)}</td>"
        case "logs":
            return lambda row: f"<td>{_logs(row) or NOTHING}</td>"
    exact = _length if column.kind is Kind.LENGTH else _number if column.is_number else None
    before = f"<td{_side(column)}"
    left, right = ("<b>", "</b>") if column.is_objective else ("", "")

    def write(row: Row) -> str:
        text = column.cell(row, _STYLE)
        more = exact(column, row, text) if exact is not None else ""
        return f"{before}{more}>{left}{escape(text) or NOTHING}{right}</td>"

    return write


def _logs(row: Row) -> str:
    return " ".join(log_link(name, log) for name, log in row.logs.items())


def _length(column: Column, row: Row, text: str) -> str:
    """Returns an attribute with the seconds, for sorting."""
    value = column.value(row)
    return "" if value is None else f' data-v="{value:g}"'


def _number(column: Column, row: Row, text: str) -> str:
    """Returns an attribute with the exact value where the text rounds it."""
    if not text:
        return ""
    if column.is_parameter:
        exact = row.trial.assignments.get(column.heading, "")
        # What is no number of the parameter's type is sorted as nothing.
        if exact == text or not exact or (not text[-1].isdigit() and column.value(row) is None):
            return ""
        return f' title="{escape(exact)}"'
    value = column.value(row)
    exact = "" if value is None else str(value)
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
