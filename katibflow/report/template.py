"""The report's page as text: its frame, its look, and the script that has the plots drawn.

They are files beside this module: ``page.html.j2`` for Jinja, ``style.css`` and ``script.js``. They
are read as resources of the package, since a pipeline's steps have it in an archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

__all__ = ["drawing_script", "render_page"]


def drawing_script() -> str:
    """Returns the script that has the plots drawn.

    It is part of the page's security policy: only it and Plotly's may run.
    """
    return _text("script.js")


def render_page(
    *,
    policy: str,
    title: str,
    summary: str,
    plots: str,
    table: str,
    data: str,
    scripts: Sequence[str],
) -> str:
    """Returns the page.

    Args:
        policy: Its security policy.
        title: The text in the window's bar.
        summary: HTML of what comes first.
        plots: HTML with a place for each plot.
        table: HTML of the trials.
        data: The plots' data as JSON that cannot end the element it stands in.
        scripts: What may run, in its order.
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
    )


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
