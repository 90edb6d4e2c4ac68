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
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from katibflow.history import History, Trial, TrialState, best_trial, objective_value
from katibflow.study import quiet_optuna, study_of

if TYPE_CHECKING:
    import optuna

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


@dataclass(frozen=True)
class _Plot:
    """One plot: either Plotly's figure as JSON data, or a sentence that says why there is none."""

    key: str
    title: str
    figure: Mapping[str, Any] | None
    why_not: str = ""
    min_width: int = 0


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

    plots = _plots(history)
    library = get_plotlyjs()
    drawn = [
        {"id": f"plot-{plot.key}", "data": plot.figure["data"], "layout": plot.figure["layout"]}
        for plot in plots
        if plot.figure is not None
    ]
    scripts = [library, _SCRIPT] if drawn else []
    return _PAGE.substitute(
        policy=escape(_policy(scripts)),
        title=escape(history.experiment.name),
        style=_STYLE,
        summary=_summary(history, ending),
        plots="\n".join(map(_plot_html, plots)),
        table=_table(history, logs),
        data=_script_safe(json.dumps(drawn)),
        scripts="".join(f"<script>{script}</script>\n" for script in scripts),
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


# ---------------------------------------------------------------------------------------- plots


def _plots(history: History) -> list[_Plot]:
    from optuna import visualization
    from optuna.trial import TrialState as OptunaState

    metric = history.experiment.spec.objective.objective_metric_name
    study = study_of(history)
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state is OptunaState.COMPLETE]
    series = any(
        trial.intermediate_values for trial in trials if trial.state is not OptunaState.FAIL
    )
    too_few = "" if complete else "No trial has completed with a finite objective value."
    parameters = {name for trial in complete for name in trial.params}
    no_parameters = too_few or ("" if parameters else "The trials have no parameters to compare.")
    width = 300 * len(parameters) if len(parameters) > 3 else 0
    no_series = "" if series else f"No trial has reported intermediate values of {metric}."
    return [
        _plot(
            "history",
            "Optimization history",
            too_few,
            lambda: visualization.plot_optimization_history(study, target_name=metric),
        ),
        _plot(
            "importance",
            "Parameter importance",
            _no_importance(complete),
            lambda: visualization.plot_param_importances(study, target_name=metric),
        ),
        _plot(
            "parallel",
            "Parallel coordinates",
            no_parameters,
            lambda: visualization.plot_parallel_coordinate(study, target_name=metric),
            min_width=max(0, 110 * len(parameters)),
        ),
        _plot(
            "slice",
            "Slices",
            no_parameters,
            lambda: visualization.plot_slice(study, target_name=metric),
            min_width=width,
        ),
        _plot(
            "intermediate",
            "Intermediate values",
            no_series,
            lambda: visualization.plot_intermediate_values(study),
        ),
    ]


def _no_importance(complete: list[optuna.trial.FrozenTrial]) -> str:
    """Why the importance of parameters cannot be computed; empty if it can."""
    if len(complete) < 2:
        return (
            "Importance needs at least two trials with a finite objective value; "
            f"there {'is one' if complete else 'are none'}."
        )
    names = {name for trial in complete for name in trial.params}
    if all(len({trial.params.get(name) for trial in complete}) < 2 for name in names):
        return "Importance needs a parameter with two different values; each has only one so far."
    if len({trial.value for trial in complete}) < 2:
        return "Importance needs two different objective values; all trials have the same."
    return ""


def _plot(key: str, title: str, why_not: str, draw: Callable[[], Any], min_width: int = 0) -> _Plot:
    """One plot by Optuna; what Optuna says if it refuses.

    Args:
        key: Names the plot's element.
        title: The heading where the plot would be.
        why_not: A sentence if it is known that there is nothing to draw.
        draw: Makes Plotly's figure.
        min_width: Pixels below which the plot scrolls instead of shrinking.
    """
    if why_not:
        return _Plot(key, title, None, why_not)
    try:
        with quiet_optuna():
            figure = draw()
    except Exception as error:  # a report is worth having without one of its plots
        return _Plot(key, title, None, f"Optuna could not draw this: {error}")
    data = _without_markup(json.loads(figure.to_json()))
    figure_data = {"data": data["data"], "layout": _laid_out(data["layout"])}
    return _Plot(key, title, figure_data, min_width=min_width)


_AXIS = re.compile(r"[xy]axis[0-9]*")


def _laid_out(layout: Mapping[str, Any]) -> dict[str, Any]:
    """Optuna's layout without a fixed width, in the page's colors and with narrower margins."""
    clear = "rgba(0,0,0,0)"
    axis = {"gridcolor": "#dfe3e9", "zerolinecolor": "#dfe3e9", "automargin": True}
    kept = {
        name: value | axis if _AXIS.fullmatch(name) else value
        for name, value in layout.items()
        if name != "width"
    }
    return kept | {
        "paper_bgcolor": clear,
        "plot_bgcolor": clear,
        "font": {"color": "#1d2430"},
        "margin": {"l": 64, "r": 32, "t": 72, "b": 56},
        "modebar": {"bgcolor": clear, "color": "#a0aab8", "activecolor": "#1457b8"},
    }


_FOREIGN_TAG = re.compile(r"<(?!(?:br|b|/b|extra|/extra)>)")


def _without_markup(value: Any) -> Any:
    """JSON data in which Plotly finds no markup but the harmless tags that Optuna itself uses."""
    if isinstance(value, str):
        return _FOREIGN_TAG.sub("&lt;", value)
    if isinstance(value, list):
        return [_without_markup(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_markup(item) for name, item in value.items()}
    return value


def _plot_html(plot: _Plot) -> str:
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
    aim = f"{objective.type.value} {objective.objective_metric_name}"
    if objective.goal is not None:
        aim += f", goal {_number(objective.goal)}"
    facts = [aim, f"algorithm {spec.algorithm.algorithm_name}", f"run {history.run}"]
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


def _best_html(history: History) -> str:
    objective = history.experiment.spec.objective
    best = best_trial(objective, history.trials)
    if best is None:
        return (
            '<section class="card" id="best"><h2>Best trial</h2>'
            "<p>No trial has a finite objective value.</p></section>"
        )
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
    objective = spec.objective.objective_metric_name
    metrics = [
        name
        for name in dict.fromkeys(
            [
                *spec.objective.metric_names,
                *(name for trial in history.trials for name in trial.observations),
            ]
        )
        if name != objective
    ]
    best = best_trial(spec.objective, history.trials)
    heads = [
        *(f"<th>{name}</th>" for name in ("Trial", "State")),
        *(f'<th class="num">{escape(name)}</th>' for name in (*parameters, objective, *metrics)),
        '<th class="num">Duration</th>',
        "<th>Logs</th>",
    ]
    rows = (
        _row(history, trial, parameters, metrics, logs.get(trial.number, {}), trial is best)
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
        f"<b>{_number(objective_value(objective, trial))}</b>",
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
    star = '<span class="star">best</span>' if is_best else ""
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
    """Time from start to end, as 1 h 02 m 03 s; empty if one of them is not known."""
    try:
        start, end = (datetime.fromisoformat(text or "") for text in (trial.start, trial.end))
    except ValueError:
        return ""
    start, end = (at if at.tzinfo else at.replace(tzinfo=UTC) for at in (start, end))
    length = max(end - start, timedelta(0)).total_seconds()
    if length < 60:
        return f"{length:.1f} s"
    minutes, seconds = divmod(round(length), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m {seconds:02} s" if hours else f"{minutes} m {seconds:02} s"


# ----------------------------------------------------------------------------------------- page

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<main>
$summary
<h2>Plots</h2>
<noscript><p>The plots need JavaScript.</p></noscript>
<div class="plots">
$plots
</div>
<h2>All trials</h2>
$table
</main>
<script type="application/json" id="plot-data">$data</script>
$scripts</body>
</html>
""")

_STYLE = """
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --text: #1d2430; --soft: #5b6575;
  --line: #dfe3e9; --link: #1457b8; --good: #157347; --bad: #b3261e; --busy: #1457b8;
  --warn: #8a5a00; --best: #e9f5ee; }
@media (prefers-color-scheme: dark) {
  :root { --page: #12161c; --card: #1b212a; --text: #e4e8ee; --soft: #a0aab8; --line: #343d4a;
    --link: #82b1ff; --good: #66d19e; --bad: #ff8a80; --busy: #82b1ff; --warn: #ffc266;
    --best: #183528; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 28px 24px 48px; }
h1, h2, h3 { line-height: 1.25; overflow-wrap: anywhere; }
h1 { font-size: 28px; margin: 0; }
h2 { font-size: 18px; margin: 28px 0 12px; }
h3 { font-size: 16px; margin: 0 0 6px; }
a { color: var(--link); }
header { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; margin-bottom: 18px; }
.facts { flex-basis: 100%; margin: 0; color: var(--soft); overflow-wrap: anywhere; }
.badge { padding: 2px 12px; border: 1px solid; border-radius: 999px; font-weight: 600; }
.badge.good, .complete { color: var(--good); } .badge.bad, .fail { color: var(--bad); }
.badge.running, .state.running { color: var(--busy); }
.state.pruned { color: var(--warn); } .state.killed { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 16px 18px; min-width: 0; overflow-x: auto; }
.card > h2 { margin: 0 0 10px; }
.card p { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.ending { border-left: 4px solid var(--busy); }
.ending.good { border-left-color: var(--good); } .ending.bad { border-left-color: var(--bad); }
.pair, .plots { display: grid; gap: 16px; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.pair { margin-top: 16px; }
.plots > :nth-child(n+3) { grid-column: 1 / -1; }
@media (max-width: 860px) { .pair, .plots { grid-template-columns: minmax(0, 1fr); }
  main { padding: 18px 12px 32px; } }
#best .value { display: flex; align-items: baseline; gap: 10px; margin-bottom: 10px; }
#best .value b { font-size: 26px; }
#best .value span, dt, .none, .missing p { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 16px; margin: 0; }
dt { max-width: 24em; overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(84px, 1fr)); gap: 10px; }
.tile { border: 1px solid var(--line); border-radius: 8px; padding: 10px; text-align: center; }
.tile b { display: block; font-size: 24px; line-height: 1.2; }
.state { font-weight: 600; }
/* Optuna chooses its colors for a light ground. */
.drawn { background: #fff; padding: 8px 10px; }
@media (prefers-color-scheme: dark) { .drawn { background: #eef1f5; border-color: #eef1f5; } }
.plot { height: 400px; }
.scroll { padding: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 7px 12px; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { color: var(--soft); font-size: 13px; }
tbody tr:last-child > * { border-bottom: 0; }
.num { text-align: right; font-variant-numeric: tabular-nums; }
tr.best { background: var(--best); }
tr.best > th { box-shadow: inset 4px 0 var(--good); }
tr:target { outline: 2px solid var(--link); outline-offset: -2px; }
.star { margin-left: 8px; padding: 0 8px; border: 1px solid; border-radius: 999px;
  color: var(--good); font-size: 12px; }
summary { cursor: pointer; }
details p { max-width: 46ch; white-space: pre-wrap; }
@media print { .card { break-inside: avoid; overflow: visible; } }
"""

_SCRIPT = """
(() => {
  const figures = JSON.parse(document.getElementById("plot-data").textContent);
  const settings = {responsive: true, displaylogo: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]};
  const draw = async (figure) => {
    const place = document.getElementById(figure.id);
    try {
      await Plotly.newPlot(place, figure.data, figure.layout, settings);
    } catch (error) {
      place.textContent = "This plot could not be drawn: " + error;
    }
  };
  figures.forEach(draw);
})();
"""
