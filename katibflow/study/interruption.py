"""Trials that were still running when their run was stopped from outside.

Such a trial is on record as KILLED, so that it counts for nothing and its time stops. If the same
run is tried again, the trial is taken up again under its number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from katibflow.study.history import Trial, TrialState, time_text
from katibflow.study.reasons import TrialReason

__all__ = ["interrupted", "taken_up_again"]


def interrupted(trial: Trial, message: str) -> Trial:
    """Returns a running trial as one that ends now because its run was stopped."""
    return replace(
        trial,
        state=TrialState.KILLED,
        reason=TrialReason.INTERRUPTED,
        message=message,
        end=time_text(datetime.now(UTC)),
    )


def taken_up_again(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Returns the trials with the interrupted ones queued again, without a start and an end."""
    return tuple(
        replace(trial, state=TrialState.RUNNING, reason="", message="", start=None, end=None)
        if trial.state is TrialState.KILLED and trial.reason == TrialReason.INTERRUPTED
        else trial
        for trial in trials
    )
