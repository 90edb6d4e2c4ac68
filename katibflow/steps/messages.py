"""What the steps hand on as parameters: short JSON texts.

A parameter stands in Argo's Workflow object some eight times, so there is nothing in it that the
next step knows from the study.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from katibflow.history import History, Trial, TrialState, trial_from_data, trial_to_data
from katibflow.jobs import job_name
from katibflow.runners.base import JobOutcome, JobState

__all__ = ["Outcome", "item_text", "outcome_text", "read_item", "read_outcome"]

_MESSAGE_LENGTH = 500
_KNOWN = ("state", "job")
"""Keys of a trial that follow from the others."""


@dataclass(frozen=True)
class Outcome:
    """How a launcher's trial ended.

    Attributes:
        trial: The trial, as it began.
        job: How its job ended; None when the launcher's log is the record of the finished trial.
        end: When (UTC, ISO 8601); None likewise.
    """

    trial: Trial
    job: JobOutcome | None = None
    end: str | None = None


def item_text(trial: Trial) -> str:
    """A trial that is to be run: what `suggestion` hands to a launcher."""
    return _json(_trial_data(trial))


def read_item(text: str, history: History) -> Trial:
    """The trial of `item_text`, in the study that it was suggested for.

    Raises:
        HistoryError: The text is none.
    """
    return _trial(json.loads(text), history)


def outcome_text(outcome: Outcome) -> str:
    """What a launcher hands to the collector; a message is shortened to 500 characters."""
    data: dict[str, Any] = {"trial": _trial_data(outcome.trial)}
    if outcome.job is not None:
        data["state"] = outcome.job.state.value
        data["reason"] = outcome.job.reason
        data["message"] = _shortened(outcome.job.message)
        data["end"] = outcome.end
    return _json({key: value for key, value in data.items() if value})


def read_outcome(text: str, history: History) -> Outcome:
    """The outcome of `outcome_text`.

    Raises:
        HistoryError: The text has no trial in it.
    """
    data = json.loads(text)
    trial = _trial(data["trial"], history)
    if "state" not in data:
        return Outcome(trial)
    job = JobOutcome(JobState(data["state"]), data.get("reason", ""), data.get("message", ""))
    return Outcome(trial, job, data.get("end"))


def _trial_data(trial: Trial) -> dict[str, Any]:
    return {key: value for key, value in trial_to_data(trial).items() if key not in _KNOWN}


def _trial(data: dict[str, Any], history: History) -> Trial:
    trial = trial_from_data({"state": TrialState.RUNNING.value, **data})
    return replace(trial, job=job_name(history.experiment.name, history.run, trial.number))


def _json(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _shortened(text: str) -> str:
    """The text without its middle; the start says what happened, the end how."""
    if len(text) <= _MESSAGE_LENGTH:
        return text
    part = (_MESSAGE_LENGTH - 5) // 2
    return f"{text[:part]} ... {text[-part:]}"
