"""The report: one HTML page about a study history that needs nothing but a browser.

The page carries Plotly's script once, asks the network for nothing, and its security policy lets
only its own two scripts run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from katibflow.experiment.types import MetricConstraint, Objective
from katibflow.report.plots import Plot, plots_of
from katibflow.report.template import drawing_script, render_page
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.objectives import best_trials, none_is_best, objective_value, objective_values

__all__ = ["Ending", "render_report", "write_report"]

_NOTHING = '<span class="none">&ndash;</span>'


@dataclass(frozen=True)
class Ending:
    """How an experiment ended.

    Attributes:
        succeeded: Whether it succeeded; None while it runs.
        reason: Why it stopped, as one word.
        message: Why it stopped, as a sentence.
    """

    succeeded: bool | None
    reason: str
    message: str


def render_report(history: History, ending: Ending, logs: Mapping[int, Mapping[str, str]]) -> str:
    """The report as one HTML page.

    Args:
        history: What to report, with any number of trials.
        ending: Why the experiment stopped, or that it runs.
        logs: Trial number to replica name to the log's place, relative to the page or http(s);
            a place of another kind is shown without a link.

    Returns:
        The page's text.
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
        summary=_summary(history, ending),
        plots="\n".join(map(_plot_html, plots)),
        table=_table(history, logs),
        data=_script_safe(json.dumps(drawn)),
        scripts=scripts,
    )


def write_report(path: Path, html: str) -> None:
    """Writes the page so that a reader sees either the old file or the whole new one.

    Args:
        path: The file; its folder exists.
        html: The page's text.

    Raises:
        OSError: The file cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            file.write(html.encode("utf-8", errors="replace"))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


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
    """JSON text that cannot end or change the script element around it."""
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


def _summary(history: History, ending: Ending) -> str:
    spec = history.experiment.spec
    objective = spec.objective
    word, kind = {
        None: ("Running", "running"),
        True: ("Succeeded", "good"),
        False: ("Failed", "bad"),
    }[ending.succeeded]
    facts = [
        f"{aim.type.value} {aim.metric}"
        + (f", goal {_number(aim.goal)}" if aim.goal is not None else "")
        for aim in objective.aims
    ]
    facts += map(_constraint, objective.constraints)
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
        f'<div class="pair">{_best_html(history)}'
        f'<section class="card" id="counts"><h2>Trials: {len(history.trials)}{of}</h2>'
        f'<div class="tiles">{tiles}</div></section></div>'
    )


def _constraint(entry: MetricConstraint) -> str:
    bounds = (("at least", entry.min), ("at most", entry.max))
    given = [f"{words} {_number(bound)}" for words, bound in bounds if bound is not None]
    return f"{entry.name} {' and '.join(given)}"


def _best_html(history: History) -> str:
    objective = history.experiment.spec.objective
    found = best_trials(objective, history.trials)
    if not found:
        title = "Pareto front" if objective.goals else "Best trial"
        words = none_is_best(objective)
        return (
            f'<section class="card" id="best"><h2>{title}</h2>'
            f"<p>{escape(words[0].upper() + words[1:])}.</p></section>"
        )
    if objective.goals:
        return _front_html(objective, found)
    best = found[0]
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        for name, value in best.assignments.items()
    )
    value = objective_value(objective, best)
    return (
        f'<section class="card" id="best"><h2>Best trial: <a href="#trial-{best.number}">'
        f'{best.number}</a></h2><p class="value"><span>'
        f"{escape(objective.objective_metric_name)}</span><b>{_number(value)}</b></p>"
        f"<dl>{rows}</dl></section>"
    )


def _front_html(objective: Objective, front: tuple[Trial, ...]) -> str:
    parameters = list(dict.fromkeys(name for trial in front for name in trial.assignments))
    heads = [*(aim.metric for aim in objective.aims), *parameters]
    rows = "".join(
        f'<tr><th scope="row"><a href="#trial-{trial.number}">{trial.number}</a></th>'
        + "".join(
            f'<td class="num"><b>{_number(value)}</b></td>'
            for value in objective_values(objective, trial)
        )
        + "".join(
            f'<td class="num">{escape(trial.assignments.get(name, "")) or _NOTHING}</td>'
            for name in parameters
        )
        + "</tr>"
        for trial in front
    )
    trials = f"{len(front)} trial{'s' if front[1:] else ''}"
    return (
        f'<section class="card" id="best"><h2>Pareto front: {trials}</h2><table id="front"><thead>'
        f"<tr><th>Trial</th>{''.join(f'<th class=num>{escape(head)}</th>' for head in heads)}</tr>"
        "</thead>"
        f"<tbody>{rows}</tbody></table></section>"
    )


# ---------------------------------------------------------------------------------------- table


def _table(history: History, logs: Mapping[int, Mapping[str, str]]) -> str:
    if not history.trials:
        return '<p class="none">No trial has been started.</p>'
    spec = history.experiment.spec
    parameters = list(
        dict.fromkeys(
            [
                *(parameter.name for parameter in spec.parameters),
                *(name for trial in history.trials for name in trial.assignments),
            ]
        )
    )
    objectives = [aim.metric for aim in spec.objective.aims]
    metrics = [
        name
        for name in dict.fromkeys(
            [
                *spec.objective.metric_names,
                *(name for trial in history.trials for name in trial.observations),
            ]
        )
        if name not in objectives
    ]
    best = {trial.number for trial in best_trials(spec.objective, history.trials)}
    heads = [
        *(f"<th>{name}</th>" for name in ("Trial", "State")),
        *(f'<th class="num">{escape(name)}</th>' for name in (*parameters, *objectives, *metrics)),
        '<th class="num">Duration</th>',
        "<th>Logs</th>",
    ]
    rows = (
        _row(history, trial, parameters, metrics, logs.get(trial.number, {}), trial.number in best)
        for trial in sorted(history.trials, key=lambda trial: trial.number)
    )
    return (
        '<div class="card scroll"><table id="trials"><thead><tr>'
        + "".join(heads)
        + "</tr></thead><tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )


def _row(
    history: History,
    trial: Trial,
    parameters: list[str],
    metrics: list[str],
    logs: Mapping[str, str],
    is_best: bool,
) -> str:
    objective = history.experiment.spec.objective
    values = [
        *(
            escape(trial.assignments[name]) if name in trial.assignments else _NOTHING
            for name in parameters
        ),
        *(f"<b>{_number(value)}</b>" for value in objective_values(objective, trial)),
        *(
            _number(trial.observations[name].value(objective.strategy(name)))
            if name in trial.observations
            else _NOTHING
            for name in metrics
        ),
        escape(_duration(trial)) or _NOTHING,
    ]
    cells = "".join(f'<td class="num">{value}</td>' for value in values)
    mark = ' class="best"' if is_best else ""
    word = "front" if objective.goals else "best"
    star = f'<span class="star">{word}</span>' if is_best else ""
    links = " ".join(_log_link(name, place) for name, place in logs.items())
    return (
        f'<tr id="trial-{trial.number}"{mark}><th scope="row">{trial.number}{star}</th>'
        f"<td>{_state(trial)}</td>{cells}<td>{links or _NOTHING}</td></tr>"
    )


def _state(trial: Trial) -> str:
    word = trial.state.value.lower()
    label = f'<span class="state {word}">{word}</span>'
    if not trial.reason and not trial.message:
        return label
    return (
        f"<details><summary>{label}</summary><p><b>{escape(trial.reason)}</b></p>"
        f'<p class="message">{escape(trial.message)}</p></details>'
    )


def _log_link(name: str, place: str) -> str:
    if not _is_safe_place(place):
        return f"<span>{escape(name)}</span>"
    return f'<a href="{escape(place)}" rel="noopener noreferrer">{escape(name)}</a>'


def _is_safe_place(place: str) -> bool:
    """Whether a link may go there: a path relative to the page, or an http(s) address."""
    if not place or not place.isprintable() or "\\" in place or place != place.strip():
        return False
    try:
        parts = urlsplit(place)
    except ValueError:
        return False
    if parts.scheme in ("http", "https"):
        return bool(parts.netloc)
    return not parts.scheme and not place.startswith("/")


def _number(value: float | None) -> str:
    if value is None:
        return _NOTHING
    if math.isnan(value):
        return "NaN"
    return f"{value:.6g}" if math.isfinite(value) else ("∞" if value > 0 else "-∞")


def _duration(trial: Trial) -> str:
    """Time from start to end, empty if one is not known, and before it if that was over 1 s."""
    text = _length(trial.duration) if trial.duration is not None else ""
    if trial.waited is not None and trial.waited > 1:
        text = f"{text}, after {_length(trial.waited)} in the queue".removeprefix(", ")
    return text


def _length(length: float) -> str:
    """Seconds as 1 h 02 m 03 s."""
    if length < 60:
        return f"{length:.1f} s"
    minutes, seconds = divmod(round(length), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m {seconds:02} s" if hours else f"{minutes} m {seconds:02} s"
