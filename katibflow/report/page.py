"""Makes the report: one HTML page about a study history that needs nothing but a browser.

The page contains Plotly's script once and loads nothing from the network. Its security policy lets
only its own scripts run. The plots are made in `report.plots`, the rest in `report.cards` and
`report.trials_html`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from katibflow.report.cards import summary_html
from katibflow.report.plots import Plot, plots_of
from katibflow.report.template import drawing_script, render_page, table_script
from katibflow.report.trials_html import trials_html
from katibflow.study.bulk import without_search_for_cycles
from katibflow.study.ending import Ending
from katibflow.study.files import write_atomically
from katibflow.study.history import History
from katibflow.study.reasons import ExperimentReason

__all__ = ["render_report", "write_report"]


def render_report(
    history: History,
    ending: Ending,
    logs: Mapping[int, Mapping[str, str]],
    refresh: float | None = None,
) -> str:
    """Returns the report as one HTML page.

    Args:
        history: The history to show, with any number of trials.
        ending: How the experiment ended, or that it has not ended.
        logs: Trial number to replica name to the log's link: a path relative to the page, or an
            http(s) address. For any other link the page shows only the replica's name.
        refresh: Seconds after which the page loads itself again, since a later one is written in
            its place; None (the default) for a page that stays as it is.
    """
    # A page is made of very many small texts, and all of them stay until it is written.
    with without_search_for_cycles():
        return _rendered(history, ending, logs, refresh)


def _rendered(
    history: History,
    ending: Ending,
    logs: Mapping[int, Mapping[str, str]],
    refresh: float | None,
) -> str:
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    plots = plots_of(history)
    library = get_plotlyjs()
    drawn = [
        {"id": f"plot-{plot.key}", "data": plot.figure["data"], "layout": plot.figure["layout"]}
        for plot in plots
        if plot.figure is not None
    ]
    scripts = [library, drawing_script()] if drawn else []
    if history.trials or refresh is not None:
        scripts.insert(0, table_script())
    is_stopped = ending.reason == ExperimentReason.INTERRUPTED
    now = datetime.now(UTC)
    return render_page(
        policy=_policy(scripts),
        title=history.experiment.name,
        summary=summary_html(history, ending, logs, now),
        plots=_drawn_html(plots) + "\n".join(map(_plot_html, plots)),
        table=trials_html(history, logs, is_stopped),
        data=_script_safe(json.dumps(drawn)),
        scripts=scripts,
        refresh=refresh,
        written=now.timestamp(),
    )


def write_report(path: Path, html: str, mode: int = 0o666) -> None:
    """Writes the page so that a reader sees either the old file or the whole new one.

    Args:
        path: The file; its folder must exist.
        html: The page's text.
        mode: The file's mode, less the user's umask; by default others may read it.

    Raises:
        OSError: The file cannot be written.
    """
    write_atomically(path, html.encode("utf-8", errors="replace"), durable=True, mode=mode)


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


def _drawn_html(plots: list[Plot]) -> str:
    """Returns a sentence on what the plots leave out, if they do."""
    count = next((plot.drawn for plot in plots if plot.drawn), "")
    if not count:
        return ""
    return (
        f'<p class="none" id="drawn">The plots draw {count}: the best, each that was the best so '
        "far, those that failed, and an even share of the others. The table has all of them.</p>"
    )


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
