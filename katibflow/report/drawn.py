"""Chooses the trials that the plots draw, so that the page of very many trials stays small.

What a reader looks for is always there: the best trial or the front, every trial that was the best
one so far, and those that failed. The others are drawn evenly over the whole run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import lt
from typing import TypeVar

from katibflow.study.best import best_of
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.objectives import losses

__all__ = ["MOST_CURVES", "MOST_DRAWN", "Drawn", "drawn_of"]

MOST_DRAWN = 1500
"""Points of a plot; a run with more trials is drawn in part."""

MOST_CURVES = 300
"""Curves of a plot, each of which has many points."""


@dataclass(frozen=True)
class Drawn:
    """A history with the trials that are drawn.

    Attributes:
        history: The history with these trials alone, which keep their numbers.
        total: The number of all trials.
    """

    history: History
    total: int

    @property
    def count_text(self) -> str:
        """The count of the trials, as "1,500 of 20,000 trials"; empty if all are drawn."""
        count = len(self.history.trials)
        return "" if count == self.total else f"{count:,} of {self.total:,} trials"


def drawn_of(history: History, most: int = MOST_DRAWN) -> Drawn:
    """Returns the trials to draw: all of them, or about ``most``.

    Args:
        history: The history, with any number of trials.
        most: The trials up to which all are drawn. Beyond it, and beyond it again for those that
            failed, an even share is.
    """
    trials = history.trials
    if len(trials) <= most:
        return Drawn(history, len(trials))
    objective = history.experiment.spec.objective
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    wanted = [
        *_evenly(best_of(objective, trials).trials, most // 2),
        *_evenly(_records(history), most // 4),
        *_evenly(failed, most),
    ]
    numbers = {trial.number for trial in wanted}
    others = [
        each for each in trials if each.number not in numbers and each.state is not TrialState.FAIL
    ]
    share = _evenly(others, max(most - len(numbers), most // 2))
    numbers.update(trial.number for trial in share)
    kept = tuple(trial for trial in trials if trial.number in numbers)
    return Drawn(replace(history, trials=kept), len(trials))


def _records(history: History) -> list[Trial]:
    """Returns the trials that were the best so far in one of the objectives, in their order."""
    objective = history.experiment.spec.objective
    least = [math.inf] * len(objective.aims)
    found = []
    for trial in history.trials:
        own = losses(objective, trial) if trial.state is TrialState.COMPLETE else None
        if own is not None and any(map(lt, own, least)):
            found.append(trial)
            least = list(map(min, own, least))
    return found


_Item = TypeVar("_Item")


def _evenly(items: Sequence[_Item], most: int) -> list[_Item]:
    """Returns at most ``most`` of some items, evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most < 2:
        return list(items[-most:]) if most else []
    return [items[index * (len(items) - 1) // (most - 1)] for index in range(most)]
