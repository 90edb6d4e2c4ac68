"""Writes values as the report's page shows them: numbers, lengths, times, links and messages."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from html import escape
from urllib.parse import urlsplit

from katibflow.study.objectives import value_text

__all__ = [
    "NOTHING",
    "assigned_html",
    "length_text",
    "log_link",
    "message_html",
    "moment_text",
    "number_html",
    "number_text",
]

NOTHING = '<span class="none">&ndash;</span>'


def number_text(value: float) -> str:
    """Returns a number with six significant digits, and one that is not finite as a sign."""
    if math.isfinite(value):
        return value_text(value)
    return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"


def number_html(value: float) -> str:
    """Returns a number with six digits, with the exact one as its title if it has more."""
    text = number_text(value)
    return _titled(text, str(value)) if math.isfinite(value) and float(text) != value else text


def assigned_html(text: str) -> str:
    """Returns an assignment, with six digits and the exact text as its title if it has more."""
    try:
        value = float(text)
    except ValueError:
        return escape(text)
    if not math.isfinite(value) or value == float(value_text(value)) or value.is_integer():
        return escape(text)
    return _titled(value_text(value), text)


def _titled(shown: str, exact: str) -> str:
    return f'<span title="{escape(exact)}">{escape(shown)}</span>'


def length_text(length: float) -> str:
    """Returns seconds as text, as 1 h 02 m 03 s."""
    if length < 60:
        return f"{length:.1f} s"
    minutes, seconds = divmod(round(length), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} m {seconds:02} s" if hours else f"{minutes} m {seconds:02} s"


def moment_text(moment: datetime) -> str:
    """Returns a time, which has a time zone, for people: UTC, in whole seconds."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def message_html(message: str) -> str:
    """Returns a trial's message: its sentence, and the lines of its log as they were printed."""
    first, _, lines = message.partition("\n")
    text = f'<p class="message">{escape(first)}</p>' if first else ""
    return f"{text}<pre>{escape(lines)}</pre>" if lines else text


def log_link(name: str, link: str) -> str:
    """Returns a link to a log; only the log's name if the link is not safe."""
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
