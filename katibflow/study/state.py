"""The state of a study that grows: what is decided from it costs the same however many trials end.

Each change of a trial makes a new state from the old one. It says what a scan of all trials says,
which `study.decision.decide` and `study.objectives.best_trials` do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from katibflow.experiment.types import Experiment
from katibflow.study.chunks import Chunks
from katibflow.study.decision import Counts, Decision, decision_of
from katibflow.study.front import Front
from katibflow.study.objectives import meets_goals
from katibflow.study.trial import Trial, by_number

__all__ = ["StudyState"]


@dataclass(frozen=True)
class StudyState:
    """The trials of an experiment, and what follows from them.

    Attributes:
        experiment: The experiment.
        trials: All trials, by number.
        counts: How many trials are in which state.
        front: The best trials.
        winner: The trial that meets all goals and is best in the first objective; None if none is.
    """

    experiment: Experiment
    trials: Chunks[Trial]
    counts: Counts
    front: Front
    winner: Trial | None = None

    @staticmethod
    def of(experiment: Experiment, trials: Iterable[Trial] = ()) -> StudyState:
        """Returns the state of some trials."""
        objective = experiment.spec.objective
        trials = by_number(trials)
        front = Front.of(objective, trials)
        state = StudyState(experiment, trials, Counts.of(trials), front)
        return replace(state, winner=state._best_winner())

    def with_trial(self, trial: Trial) -> StudyState:
        """Returns the state with a trial, which replaces the one of its number."""
        before = self.trials.get(trial.number)
        trials = self.trials.with_items([trial])
        ended = before is not None and before.state.is_finished
        if ended and self.front.has(trial.number):
            # What the old one kept off the front may be on it now. Trials that have ended do not
            # change while an experiment runs.
            return StudyState.of(self.experiment, trials)
        counts = self.counts.after(before, trial)
        front = self.front.with_trial(trial) if trial.state.is_finished else self.front
        state = StudyState(self.experiment, trials, counts, front, self.winner)
        if front is self.front:
            return state
        if self.winner is None and not meets_goals(self.experiment.spec.objective, trial):
            return state
        return replace(state, winner=state._best_winner())

    @property
    def decision(self) -> Decision:
        """Whether the experiment goes on, and with how many new trials."""
        return decision_of(self.experiment, self.counts, self.winner)

    def _best_winner(self) -> Trial | None:
        objective = self.experiment.spec.objective
        return next((each for each in self.front.trials if meets_goals(objective, each)), None)
