"""The best trial, or the Pareto front of several objectives, in words and as data.

Which trials are the best is decided in `study.objectives`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from katibflow.experiment.types import Objective
from katibflow.printing import visible
from katibflow.study.front import Front
from katibflow.study.history import Trial
from katibflow.study.objectives import (
    best_trials,
    finite_values,
    found_text,
    is_several,
    none_is_best,
    reported_metric,
    value_text,
    values_text,
)

__all__ = ["Best", "best_of"]


@dataclass(frozen=True)
class _Words:
    """The words for one best trial, or for a front; each property of `Best` says which is which."""

    mark: str
    title: str
    one_of_them: str
    line: str


_ONE = _Words("best", "Best trial", "Best", "best trial:")
_FRONT = _Words("front", "Pareto front", "On the Pareto front", "trial")


@dataclass(frozen=True)
class Best:
    """The best of some trials.

    Attributes:
        objective: The Experiment's objective, which compares the trials.
        trials: The best trial or none, if there is one objective; the Pareto front in its order, if
            there are several.
        front: The same trials as they are compared with further ones; None if that is not known.
    """

    objective: Objective
    trials: tuple[Trial, ...]
    front: Front | None = field(default=None, compare=False, repr=False)

    @property
    def is_front(self) -> bool:
        """Whether there are several objectives, so that ``trials`` is a Pareto front."""
        return is_several(self.objective)

    @property
    def _words(self) -> _Words:
        return _FRONT if self.is_front else _ONE

    @property
    def mark(self) -> str:
        """The word beside such a trial in a table, and the key of `data`: best or front."""
        return self._words.mark

    @property
    def title(self) -> str:
        """The heading: Best trial or Pareto front."""
        return self._words.title

    @property
    def none(self) -> str:
        """The reason why no trial is best, as a sentence without a full stop."""
        return none_is_best(self.objective)

    @property
    def count_text(self) -> str:
        """The size of the front, as "Pareto front: 3 trials"."""
        return f"{self.title}: {len(self.trials)} trial{'s' if self.trials[1:] else ''}"

    def has(self, trial: Trial) -> bool:
        """Returns whether a trial is among the best ones, by its number."""
        return any(each.number == trial.number for each in self.trials)

    def with_trial(self, trial: Trial) -> Best:
        """Returns the best of these trials and one more."""
        before = self.front or Front.of(self.objective, self.trials)
        front = before.with_trial(trial)
        return self if front is self.front else Best(self.objective, front.trials, front)

    def data(self) -> dict[str, Any]:
        """Returns the best trials as JSON can hold them; assignments are texts, as in Katib.

        Returns:
            A mapping with one key. With one objective the key is ``best``: ``trial`` (the number),
            ``objective`` (the value, or the text that was reported) and ``assignments`` of the best
            trial, or None if there is none. With several objectives the key is ``front``: a list
            with ``trial``, ``objectives`` (by metric) and ``assignments`` of each trial, beginning
            with the best in the first objective.
        """
        found = [
            {
                "trial": trial.number,
                **self._values_data(trial),
                "assignments": dict(trial.assignments),
            }
            for trial in self.trials
        ]
        return {self.mark: found if self.is_front else next(iter(found), None)}

    def _values_data(self, trial: Trial) -> dict[str, Any]:
        values = finite_values(self.objective, trial) or ()
        if not self.is_front:
            return {"objective": values[0] if values else found_text(self.objective, trial)}
        metrics = (aim.metric for aim in self.objective.aims)
        return {"objectives": dict(zip(metrics, values, strict=True))}

    def lines(self) -> list[str]:
        """Returns lines with each trial and each assignment, or a line that no trial is best."""
        if not self.trials:
            return [self.none]
        lines = [self.count_text] if self.is_front else []
        for trial in self.trials:
            lines += [
                f"{self._words.line} {trial.number}, {values_text(self.objective, trial)}",
                *(
                    f"  {visible(f'{parameter}={text}', lines=False)}"
                    for parameter, text in trial.assignments.items()
                ),
            ]
        return lines

    def sentences(self) -> list[str]:
        """Returns a sentence for each trial, as "Best: trial 2, loss 0.1 with x=2"."""
        sentences = []
        for trial in self.trials:
            chosen = ", ".join(f"{name}={value}" for name, value in trial.assignments.items())
            values = finite_values(self.objective, trial) or ()
            text = found_text(self.objective, trial)
            reached = ", ".join(
                f"{aim.metric} {value_text(value)}"
                for aim, value in zip(self.objective.aims, values, strict=True)
            )
            sentences.append(
                f"{self._words.one_of_them}: trial {trial.number}, {text or reached} with {chosen}"
            )
        return sentences

    @property
    def standing(self) -> str:
        """The best trials so far on one line; empty while no trial is best."""
        if not self.trials:
            return ""
        if self.is_front:
            numbers = ", ".join(str(trial.number) for trial in self.trials)
            return f"{self.title}: trial{'s' if self.trials[1:] else ''} {numbers}"
        first = self.trials[0]
        if found_text(self.objective, first):
            return f"{reported_metric(self.objective)} found in trial {first.number}"
        value = value_text(self._first_value)
        metric = visible(reported_metric(self.objective), lines=False)
        return f"best {metric}={value} in trial {self.trials[0].number}"

    @property
    def short(self) -> str:
        """The text for a table's cell: the best value, or the number of trials on the front."""
        if self.is_front:
            return f"{len(self.trials)} on the front"
        return values_text(self.objective, self.trials[0]) if self.trials else ""

    @property
    def _first_value(self) -> float:
        return (finite_values(self.objective, self.trials[0]) or ())[0]

    def metrics(self) -> dict[str, float]:
        """Returns numbers by name: the best trial, or the front's size, and each best value."""
        found: dict[str, float] = {}
        if self.is_front:
            found["trials on the Pareto front"] = float(len(self.trials))
        elif self.trials:
            found["best trial"] = float(self.trials[0].number)
        found_values = (finite_values(self.objective, trial) for trial in self.trials)
        rows = [values for values in found_values if values is not None]
        for index, aim in enumerate(self.objective.aims if rows else ()):
            found[f"best {aim.metric}"] = aim.sign * min(aim.sign * row[index] for row in rows)
        return found


def best_of(objective: Objective, trials: Iterable[Trial]) -> Best:
    """Returns the best of some trials."""
    return Best(objective, best_trials(objective, trials))
