"""Fills the template of the report's page, without knowing the content.

The template for Jinja is ``page.html.j2``, beside this module; ``style.css`` and ``script.js`` go
into the page, too. This module reads them as resources of the package, since a pipeline's steps
have the package in an archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

__all__ = ["drawing_script", "render_page", "table_script"]


def drawing_script() -> str:
    """Returns the script that draws the plots.

    The page's security policy allows only this script, the table's and Plotly's.
    """
    return _text("script.js")


def table_script() -> str:
    """Returns the script that sorts and filters the table of trials, and loads the page again."""
    return _text("table.js")


def render_page(
    *,
    policy: str,
    title: str,
    summary: str,
    plots: str,
    table: str,
    data: str,
    scripts: Sequence[str],
    refresh: float | None,
    written: float,
) -> str:
    """Returns the page as HTML.

    Args:
        policy: The page's security policy.
        title: The text in the window's bar.
        summary: The HTML before the plots: the ending, the best trials and the counts.
        plots: The HTML with an element for each plot.
        table: The HTML of the table of trials.
        data: The plots' data as JSON that cannot end the script element around it.
        scripts: The scripts that may run, in their order.
        refresh: Seconds after which the page loads itself again; None if it does not.
        written: When the page was made, in seconds since 1970.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(_text("page.html.j2")).render(
        policy=policy,
        title=title,
        style=_text("style.css"),
        summary=summary,
        plots=plots,
        table=table,
        data=data,
        scripts=scripts,
        refresh=refresh,
        written=round(written),
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
