"""Groups failed trials by the cause of their failure, which the last lines of their logs tell.

The message of a failed trial ends with the last lines of the log that tells why. Which of them says
what went wrong is for people: nothing is decided by it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from katibflow.experiment.types import Objective
from katibflow.printing import counted
from katibflow.study.history import Trial, TrialState
from katibflow.study.objectives import finite_values, found_text
from katibflow.study.reasons import TrialReason

__all__ = [
    "Failure",
    "cause_of",
    "failures_of",
    "gave_nothing",
    "same_cause",
    "share_text",
    "succeeded_text",
]

_EXCEPTION = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Exit|Interrupt)(?::|$)")
"""The last line of a traceback, as Python prints it, also behind a rank or a time."""

_TELLING = re.compile(r"\b(?:error|fatal|failed|cannot|killed|no such|not found)\b", re.IGNORECASE)

_RETURNED = "the function returned "
"""Begins the line about what a tuned function returned in place of a value (`bootstrap`)."""

_VARIES = re.compile(r"0x[0-9a-fA-F]+|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
"""What differs between two lines that say the same: numbers and addresses."""


@dataclass(frozen=True)
class Failure:
    """Trials that failed in the same way.

    Attributes:
        reason: The reason of the first one, one word.
        cause: The cause of the first one, one line.
        what: The first line of its message, as "job-0 failed with exit code 1".
        trials: The trials, by number.
    """

    reason: str
    cause: str
    what: str
    trials: tuple[Trial, ...]

    @property
    def text(self) -> str:
        """The failure in words, as "2 trials (1, 4): exit code 1: RuntimeError: out of memory"."""
        numbers = ", ".join(str(trial.number) for trial in self.trials[:8])
        more = ", ..." if self.trials[8:] else ""
        plural = "s" if self.trials[1:] else ""
        return f"{len(self.trials)} trial{plural} ({numbers}{more}): {self.cause}"


def cause_of(trial: Trial) -> str:
    """Returns the line that tells most why a trial failed, from its log or else its message.

    It is the last one that is an exception's, or else the last one that speaks of an error, or else
    the last one with a letter. Without lines of a log it is the message's first line. A job that
    succeeded without metrics failed for no cause in its log, unless a tuned function returned what
    has no value of the objective: the sentence about it is the cause.
    """
    first, *lines = trial.message.split("\n")
    if trial.reason == TrialReason.METRICS_UNAVAILABLE:
        returned = [line[line.index(_RETURNED) :] for line in lines if _RETURNED in line]
        return returned[-1].strip() if returned else _what(trial)
    lines = [line.strip() for line in lines if any(map(str.isalpha, line))]
    for pattern in (_EXCEPTION, _TELLING):
        for line in reversed(lines):
            if pattern.search(line):
                return line
    return lines[-1] if lines else first or trial.reason


def failures_of(trials: Iterable[Trial]) -> tuple[Failure, ...]:
    """Returns the failed trials, grouped by reason and cause; the most frequent cause first."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if trial.state is TrialState.FAIL:
            groups.setdefault(_key(trial), []).append(trial)
    found = [
        Failure(group[0].reason, cause_of(group[0]), _what(group[0]), tuple(group))
        for group in groups.values()
    ]
    return tuple(sorted(found, key=lambda each: -len(each.trials)))


def same_cause(trials: Collection[Trial]) -> str:
    """Returns the cause of trials if all have failed in the same way; "" otherwise."""
    found = failures_of(trials)
    is_same = len(found) == 1 and len(found[0].trials) == len(trials)
    return found[0].cause if is_same else ""


def gave_nothing(objective: Objective, trials: Collection[Trial]) -> bool:
    """Returns whether trials have ended and none has finite values of the objectives, or a text."""
    ended = [trial for trial in trials if trial.state.counts]
    return bool(ended) and all(
        finite_values(objective, trial) is None and not found_text(objective, trial)
        for trial in ended
    )


def succeeded_text(trials: Collection[Trial]) -> str:
    """Returns how many trials succeeded and why the others failed; "" if none failed.

    As "6 of 8 trials succeeded; 2 failed: job-0 failed with exit code 1 (RuntimeError: ...)".
    """
    found = failures_of(trials)
    if not found:
        return ""
    most = found[0]
    why = most.what if most.cause == most.what else f"{most.what} ({most.cause})"
    share = "" if len(found) == 1 else f", {len(most.trials)} of them"
    return f"{share_text(trials)}{share}: {why}"


def share_text(trials: Collection[Trial]) -> str:
    """Returns how many trials succeeded, as "6 of 8 trials succeeded; 2 failed"; "" if all did."""
    ended = [t for t in trials if t.state.counts]
    failed = sum(trial.state is TrialState.FAIL for trial in ended)
    well = f"{len(ended) - failed} of {counted(len(ended), 'trial')} succeeded"
    return f"{well}; {failed} failed" if failed else ""


def _key(trial: Trial) -> tuple[str, str]:
    return trial.reason, _VARIES.sub("0", cause_of(trial))


def _what(trial: Trial) -> str:
    if trial.reason == TrialReason.METRICS_UNAVAILABLE:
        # What was searched, and how, stands behind a colon.
        return trial.message.split("\n")[0].partition(": ")[0] or trial.reason
    return trial.message.split("\n")[0].partition(";")[0].removesuffix(":") or trial.reason
