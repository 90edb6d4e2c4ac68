"""Makes the report: one HTML page about a study history that needs nothing but a browser.

The page contains Plotly's script once and loads nothing from the network. Its security policy lets
only its own two scripts run. The plots are made in `report.plots`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from katibflow.report.plots import Plot, plots_of
from katibflow.report.table import Column, Output, Row, Style, columns_of, rows_of
from katibflow.report.template import drawing_script, render_page
from katibflow.study.best import Best, best_of
from katibflow.study.ending import Ending
from katibflow.study.failures import failures_of, gave_nothing, succeeded_text
from katibflow.study.files import write_atomically
from katibflow.study.history import History, TrialState
from katibflow.study.objectives import aims_texts, objective_values, value_text
from katibflow.study.reasons import ExperimentReason

__all__ = ["render_report", "write_report"]

_NOTHING = '<span class="none">&ndash;</span>'


def render_report(history: History, ending: Ending, logs: Mapping[int, Mapping[str, str]]) -> str:
    """Returns the report as one HTML page.

    Args:
        history: The history to show, with any number of trials.
        ending: How the experiment ended, or that it has not ended.
        logs: Trial number to replica name to the log's link: a path relative to the page, or an
            http(s) address. For any other link the page shows only the replica's name.
    """
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    plots = plots_of(history)
    library = get_plotlyjs()
    drawn = [
        {"id": f"plot-{plot.key}", "data": plot.figure["data"], "layout": plot.figure["layout"]}
        for plot in plots
        if plot.figure is not None
    ]
    scripts = [library, drawing_script()] if drawn else []
    return render_page(
        policy=_policy(scripts),
        title=history.experiment.name,
        summary=_summary(history, ending, logs),
        plots="\n".join(map(_plot_html, plots)),
        table=_table(history, logs, ending.reason == ExperimentReason.INTERRUPTED),
        data=_script_safe(json.dumps(drawn)),
        scripts=scripts,
    )


def write_report(path: Path, html: str) -> None:
    """Writes the page so that a reader sees either the old file or the whole new one.

    Args:
        path: The file; its folder must exist.
        html: The page's text.

    Raises:
        OSError: The file cannot be written.
    """
    write_atomically(path, html.encode("utf-8", errors="replace"), durable=True)


def _policy(scripts: list[str]) -> str:
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    ]
    return (
        f"default-src 'none'; script-src {' '.join(hashes) or chr(39) + 'none' + chr(39)}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _script_safe(text: str) -> str:
    """Returns JSON text so that it cannot end or change the script element around it."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _plot_html(plot: Plot) -> str:
    if plot.figure is None:
        return (
            f'<section class="card missing" id="no-plot-{plot.key}"><h3>{escape(plot.title)}</h3>'
            f"<p>{escape(plot.why_not)}</p></section>"
        )
    width = f' style="min-width:{plot.min_width}px"' if plot.min_width else ""
    return (
        f'<section class="card drawn" aria-label="{escape(plot.title)}">'
        f'<div class="plot" id="plot-{plot.key}"{width}></div></section>'
    )


# -------------------------------------------------------------------------------------- summary


def _summary(history: History, ending: Ending, logs: Mapping[int, Mapping[str, str]]) -> str:
    spec = history.experiment.spec
    word, kind = _badge(history, ending)
    facts = aims_texts(spec.objective)
    facts += [f"algorithm {spec.algorithm.algorithm_name}", f"run {history.run}"]
    counts = Counter(trial.state for trial in history.trials)
    tiles = "".join(
        f'<div class="tile"><b>{counts[state]}</b><span class="state {state.value.lower()}">'
        f"{state.value.lower()}</span></div>"
        for state in TrialState
    )
    of = f" of at most {spec.max_trial_count}" if spec.max_trial_count is not None else ""
    return (
        f'<header><h1>{escape(history.experiment.name)}</h1><span class="badge {kind}">{word}'
        f'</span><p class="facts">{escape(" · ".join(facts))}</p></header>'
        f'<section class="card ending {kind}" id="ending"><h2>'
        f"{'Where it stands' if ending.succeeded is None else 'Why it stopped'}</h2>"
        f"<p><b>{escape(ending.reason)}</b></p><p>{escape(ending.message)}</p></section>"
        f"{_failures_html(history, logs)}{_kept_html(history)}"
        f'<div class="pair">{_best_html(history)}'
        f'<section class="card" id="counts"><h2>Trials: {len(history.trials)}{of}</h2>'
        f'<div class="tiles">{tiles}</div></section></div>'
    )


def _badge(history: History, ending: Ending) -> tuple[str, str]:
    """Returns the badge's word and its kind, which is its colour."""
    if ending.succeeded is None:
        is_stopped = ending.reason == ExperimentReason.INTERRUPTED
        return ("Interrupted", "stopped") if is_stopped else ("Running", "running")
    if ending.succeeded and gave_nothing(history.experiment.spec.objective, history.trials):
        return "No result", "bad"
    return ("Succeeded", "good") if ending.succeeded else ("Failed", "bad")


def _failures_html(history: History, logs: Mapping[int, Mapping[str, str]]) -> str:
    """Returns the failures by their causes, with the logs of one trial of each."""
    found = failures_of(history.trials)
    if not found:
        return ""
    items = "".join(
        f"<li>{escape(each.text)} "
        + " ".join(
            _log_link(name, log) for name, log in logs.get(each.trials[0].number, {}).items()
        )
        + "</li>"
        for each in found
    )
    share = escape(succeeded_text(history.trials))
    return (
        f'<section class="card ending bad" id="failures"><h2>Failures</h2><p>{share}</p>'
        f"<ul>{items}</ul></section>"
    )


def _kept_html(history: History) -> str:
    """Returns what changed since trials ran that count all the same."""
    lines = [escape(line) for each in history.kept for line in each.lines()]
    if not lines:
        return ""
    text = "<br>".join(lines)
    return (
        '<section class="card ending" id="kept"><h2>Trials of before a change</h2>'
        f"<p>{text}</p></section>"
    )


def _best_html(history: History) -> str:
    best = best_of(history.experiment.spec.objective, history.trials)
    if not best.trials:
        return (
            f'<section class="card" id="best"><h2>{best.title}</h2>'
            f"<p>{escape(best.none[0].upper() + best.none[1:])}.</p></section>"
        )
    return (_front_html if best.is_front else _one_html)(best)


def _one_html(best: Best) -> str:
    (trial,) = best.trials
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        for name, value in trial.assignments.items()
    )
    values = zip(best.objective.aims, objective_values(best.objective, trial), strict=True)
    reached = "".join(
        f'<p class="value"><span>{escape(aim.metric)}</span><b>{_number(value)}</b></p>'
        for aim, value in values
        if value is not None
    )
    return (
        f'<section class="card" id="best"><h2>{best.title}: <a href="#trial-{trial.number}">'
        f"{trial.number}</a></h2>{reached}<dl>{rows}</dl></section>"
    )


def _front_html(best: Best) -> str:
    parameters = list(dict.fromkeys(name for trial in best.trials for name in trial.assignments))
    heads = [*(aim.metric for aim in best.objective.aims), *parameters]
    rows = "".join(
        f'<tr><th scope="row"><a href="#trial-{trial.number}">{trial.number}</a></th>'
        + "".join(
            f'<td class="num"><b>{_number(value)}</b></td>'
            for value in objective_values(best.objective, trial)
            if value is not None
        )
        + "".join(
            f'<td class="num">{escape(trial.assignments.get(name, "")) or _NOTHING}</td>'
            for name in parameters
        )
        + "</tr>"
        for trial in best.trials
    )
    return (
        f'<section class="card" id="best"><h2>{best.count_text}</h2><table id="front"><thead>'
        f"<tr><th>Trial</th>{''.join(f'<th class=num>{escape(head)}</th>' for head in heads)}</tr>"
        "</thead>"
        f"<tbody>{rows}</tbody></table></section>"
    )


# ---------------------------------------------------------------------------------------- table


def _table(history: History, logs: Mapping[int, Mapping[str, str]], is_stopped: bool) -> str:
    if not history.trials:
        return '<p class="none">No trial has been started.</p>'
    trials = sorted(history.trials, key=lambda trial: trial.number)
    best = best_of(history.experiment.spec.objective, history.trials)
    columns = columns_of(history.experiment, trials, Output.PAGE)
    heads = (f"<th{_side(each)}>{escape(each.heading)}</th>" for each in columns)
    rows = (
        f'<tr id="trial-{row.trial.number}"{_BEST if row.is_best else ""}>'
        + "".join(_cell(each, row, best.mark) for each in columns)
        + "</tr>"
        for row in rows_of(history.experiment, trials, logs, best=best, is_stopped=is_stopped)
    )
    return (
        '<div class="card scroll"><table id="trials"><thead><tr>'
        + "".join(heads)
        + "</tr></thead><tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></div>"
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
            links = " ".join(_log_link(name, log) for name, log in row.logs.items())
            return f"<td>{links or _NOTHING}</td>"
    text = escape(column.cell(row, _STYLE)) or _NOTHING
    return f"<td{_side(column)}>{f'<b>{text}</b>' if column.is_objective else text}</td>"


def _state(row: Row) -> str:
    trial, word = row.trial, row.state.lower()
    label = f'<span class="state {word}">{word}</span>'
    if not trial.reason and not trial.message:
        return label
    return (
        f"<details><summary>{label}</summary><p><b>{escape(trial.reason)}</b></p>"
        f'<p class="message">{escape(trial.message)}</p></details>'
    )


def _log_link(name: str, link: str) -> str:
    if not _is_safe_link(link):
        return f"<span>{escape(name)}</span>"
    return f'<a href="{escape(link)}" rel="noopener noreferrer">{escape(name)}</a>'


def _is_safe_link(link: str) -> bool:
    """Returns whether a link is safe: a path relative to the page, or an http(s) address."""
    if not link or not link.isprintable() or "\\" in link or link != link.strip():
        return False
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    if parts.scheme in ("http", "https"):
        return bool(parts.netloc)
    return not parts.scheme and not link.startswith("/")


def _number(value: float) -> str:
    if math.isfinite(value):
        return value_text(value)
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"


def _length(length: float) -> str:
    """Returns seconds as text, as 1 h 02 m 03 s."""
    if length < 60:
        return f"{length:.1f} s"
    minutes, seconds = divmod(round(length), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m {seconds:02} s" if hours else f"{minutes} m {seconds:02} s"


_STYLE = Style(number=_number, length=_length, nothing="")
