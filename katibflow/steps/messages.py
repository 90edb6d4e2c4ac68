"""Writes and reads the texts by which steps hand on trials as parameters.

Argo's Workflow object repeats a parameter about eight times, as JSON inside JSON inside JSON, where
a quote takes eight characters. So a text is short, has no quotes, and omits what the next step
knows from the study.
"""

from __future__ import annotations

import json
from urllib.parse import quote, unquote

from katibflow.errors import HistoryError
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.job_name import job_name

__all__ = ["item_text", "read_item"]

_UTC = "+00:00"
_SAFE = ":,{}[]"


def item_text(trial: Trial) -> str:
    """Returns the text of a new trial, which `suggestion` hands to a launcher.

    Returns:
        A text as ``3&2026-01-01T00:00:00.000Z&&lr=0.01&layers=2``: the trial's number, the time of
        its suggestion, the sampler's attributes as JSON if there are any, and the assignments,
        quoted as in a URL.
    """
    attributes = json.dumps(dict(trial.attributes), separators=(",", ":"))
    assigned = (f"{_quoted(name)}={_quoted(value)}" for name, value in trial.assignments.items())
    return "&".join(
        [
            str(trial.number),
            (trial.queued or "").replace(_UTC, "Z"),
            _quoted(attributes) if trial.attributes else "",
            *assigned,
        ]
    )


def read_item(text: str, history: History) -> Trial:
    """Returns the trial of a text that `item_text` wrote.

    Args:
        text: The text.
        history: The study that the trial was suggested for.

    Raises:
        HistoryError: The text has another form.
    """
    try:
        number, queued, attributes, *assigned = text.split("&")
        pairs = [each.split("=") for each in assigned]
        given = json.loads(unquote(attributes) or "{}")
        if not number.isdecimal() or not isinstance(given, dict):
            raise ValueError(text)
        return Trial(
            number=int(number),
            state=TrialState.RUNNING,
            assignments={unquote(name): unquote(value) for name, value in pairs},
            attributes=given,
            queued=queued.replace("Z", _UTC) or None,
            job=job_name(history.experiment, history.run, int(number)),
        )
    except ValueError as error:
        raise HistoryError(f"found {text!r}; allowed: a trial as `suggestion` tells it") from error


def _quoted(text: str) -> str:
    # KFP and Argo would replace a placeholder, which begins with two braces.
    return quote(text, safe=_SAFE).replace("{{", "{%7B")
