"""Says what a start of a run does, before it does it: it begins anew, goes on, or runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from katibflow.printing import counted
from katibflow.study.changes import Change
from katibflow.study.decision import decide, used_up
from katibflow.study.history import History, Kept, TrialState
from katibflow.study.reasons import ExperimentReason
from katibflow.suggestion.suggester import is_used_up, why_over

__all__ = ["opening_lines", "with_kept"]

_MORE: Mapping[str, str] = {
    ExperimentReason.MAX_TRIALS_REACHED: "a larger maxTrialCount",
    ExperimentReason.FAILED: "a larger maxFailedTrialCount",
    ExperimentReason.GOAL_REACHED: "another goal and --keep (keep=True)",
}
"""What lets an experiment go on that ended for a reason."""

_ANEW = "to begin anew: --fresh (fresh=True), or another --name"


def with_kept(history: History, changes: Sequence[Change]) -> History:
    """Returns the history with a note that its finished trials ran before some changes.

    Args:
        history: The history with all trials on record.
        changes: What has changed since those trials ran; empty for nothing.
    """
    numbers = tuple(trial.number for trial in history.trials if trial.state.is_finished)
    if not changes:
        return history
    return replace(history, kept=(*history.kept, Kept(numbers, tuple(map(str, changes)))))


def opening_lines(
    folder: Path, history: History, changes: Sequence[Change], aside: Path | None
) -> tuple[str, ...]:
    """Returns the first lines of a start; none for a new run in a new folder.

    Args:
        folder: The run's folder.
        history: The history with all trials on record.
        changes: What has changed since those trials ran, if they are kept.
        aside: The folder of the run before, if this one begins anew.
    """
    lines = [] if aside is None else [f"begun anew; the earlier run is kept in {aside}"]
    if history.trials:
        lines.append(_goes_on(folder, history))
    if history.trials and history.warm:
        lines.append(
            f"learns from {counted(len(history.warm), 'trial')} that its warm start gave it at the "
            "beginning; --warm-start changes nothing now"
        )
    lines += [f"kept though it changed: {change}" for change in changes]
    return tuple(lines)


def _goes_on(folder: Path, history: History) -> str:
    decision = decide(history.experiment, history.trials)
    running = sum(trial.state is TrialState.RUNNING for trial in history.trials)
    if not decision.finished and not running and is_used_up(history):
        decision = used_up(why_over(history.experiment))
    if decision.finished:
        more = _MORE.get(decision.reason)
        to_go_on = "" if more is None else f"to go on: {more}; "
        return (
            f"nothing is run: {folder} is over, and this is its result "
            f"({decision.reason}: {decision.message}); {to_go_on}{_ANEW}"
        )
    return f"{folder} goes on: {counted(len(history.trials), 'trial')} on record; {_ANEW}"
