"""The best trials so far, brought up to date by each trial that ends: no other trial is looked at.

`study.objectives.best_trials` gives the same trials from a whole study.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, replace

from katibflow.experiment.types import Objective
from katibflow.study.objectives import beats, found_text, is_several, losses
from katibflow.study.trial import Trial

__all__ = ["Front"]

Member = tuple[tuple[float, ...], int, Trial]
"""The losses, the number and the trial; no two have the same number."""


@dataclass(frozen=True)
class Front:
    """The best trial of one objective, or the Pareto front of several.

    Attributes:
        objective: The objective, which compares the trials.
        members: The best trials that have numbers, the best in the first objective first.
        first_text: The first trial with a text in place of a number; it is best while none has one.
    """

    objective: Objective
    members: tuple[Member, ...] = ()
    first_text: Trial | None = None

    @staticmethod
    def of(objective: Objective, trials: Iterable[Trial]) -> Front:
        """Returns the front of some trials."""
        front = Front(objective)
        for trial in trials:
            front = front.with_trial(trial)
        return front

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The best trials, in the order of `best_trials`."""
        if not self.members and self.first_text is not None:
            return (self.first_text,)
        return tuple(trial for _, _, trial in self.members)

    def has(self, number: int) -> bool:
        """Returns whether the trial of a number is one of those that the front holds."""
        if self.first_text is not None and self.first_text.number == number:
            return True
        return any(number == other for _, other, _ in self.members)

    def with_trial(self, trial: Trial) -> Front:
        """Returns the front with a trial that it does not hold; the same one if nothing changes."""
        found = losses(self.objective, trial)
        if found is None:
            return self._with_text(trial)
        if not is_several(self.objective):
            known = self.members
            if known and known[0][:2] <= (found, trial.number):
                return self
            return replace(self, members=((found, trial.number, trial),))
        if any(beats(other, found) for other, _, _ in self.members):
            return self
        left = [member for member in self.members if not beats(found, member[0])]
        insort(left, (found, trial.number, trial), key=lambda member: member[:2])
        return replace(self, members=tuple(left))

    def _with_text(self, trial: Trial) -> Front:
        first = self.first_text
        if not found_text(self.objective, trial):
            return self
        if first is not None and first.number < trial.number:
            return self
        return replace(self, first_text=trial)
