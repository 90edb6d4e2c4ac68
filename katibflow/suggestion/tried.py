"""Remembers the combinations that a history has tried, so that they are not gathered anew.

Killed trials do not count: what they would have tried may come again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import compress
from operator import is_not

from katibflow.study.history import Trial, TrialState

__all__ = ["Key", "Tried", "key_of"]

Key = frozenset[tuple[str, str]]
"""One combination, whatever the order of its parameters."""


def key_of(assignments: Mapping[str, str]) -> Key:
    """Returns what tells one combination from another."""
    return frozenset(assignments.items())


class Tried:
    """The combinations of the trials that were given last."""

    def __init__(self) -> None:
        self._trials: list[Trial | None] = []
        self._keys: list[Key | None] = []
        self._counts: Counter[Key] = Counter()

    def of(self, trials: Sequence[Trial]) -> Collection[Key]:
        """Returns the combinations of trials, among them those of running ones.

        Args:
            trials: The trials; the work is for those that are not the same objects as last time.
        """
        trials = tuple(trials)
        for index in range(len(trials), len(self._trials)):
            self._forget(index)
        del self._trials[len(trials) :], self._keys[len(trials) :]
        known = len(self._trials)
        self._trials += [None] * (len(trials) - known)
        self._keys += [None] * (len(trials) - known)
        for index in compress(range(len(trials)), map(is_not, self._trials, trials)):
            self._forget(index)
            self._trials[index] = trial = trials[index]
            if trial.state is not TrialState.KILLED:
                self._keys[index] = key = key_of(trial.assignments)
                self._counts[key] += 1
        return self._counts.keys()

    def _forget(self, index: int) -> None:
        key = self._keys[index]
        if key is None:
            return
        self._keys[index] = None
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
