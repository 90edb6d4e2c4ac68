"""What the steps hand on as parameters: short texts without quotes.

A parameter stands in Argo's Workflow object some eight times, JSON inside JSON inside JSON, where a
quote takes eight characters. So there is nothing in it that the next step knows from elsewhere.
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
    """A trial that is to be run: what `suggestion` hands to a launcher.

    Returns:
        As ``3&2026-01-01T00:00:00.000Z&&lr=0.01&layers=2``: the number, when it was suggested, the
        sampler's attributes as JSON if there are any, and the assignments, quoted as in a URL.
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
    """The trial of `item_text`, in the study that it was suggested for.

    Raises:
        HistoryError: The text is none.
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
            job=job_name(history.experiment.name, history.run, int(number)),
        )
    except ValueError as error:
        raise HistoryError(f"found {text!r}; allowed: a trial as `suggestion` tells it") from error


def _quoted(text: str) -> str:
    # Two braces begin a placeholder of KFP's and of Argo's, and they are in texts only.
    return quote(text, safe=_SAFE).replace("{{", "{%7B")
