"""Makes suggestions: the assignments of the next trials, from a study history alone.

The same history and seed give the same suggestions, whether the study was rebuilt or stayed in
memory. No combination of a finite space is tried twice, except for those of killed trials.

Fewer suggestions than requested mean that running trials must end first, or that the search is
over. No suggestion at all, while no trial is running, means that the search is over.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from katibflow.errors import KatibflowError, SuggestionError
from katibflow.experiment.types import Experiment
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.optuna_study import quiet_optuna
from katibflow.suggestion import algorithms
from katibflow.suggestion.algorithms import Suggestion
from katibflow.suggestion.algorithms.base import chance, derived_seed
from katibflow.suggestion.enqueued import enqueued_of
from katibflow.suggestion.space.search_space import Space, space_of
from katibflow.suggestion.tried import Key, Tried, key_of

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

    from katibflow.suggestion.algorithms.random_sampler import ReseededRandomSampler
    from katibflow.suggestion.history_storage import HistoryStorage
    from katibflow.suggestion.space.dimensions import Dimension

__all__ = ["Suggester", "Suggestion", "is_used_up", "new_seed", "suggest", "why_over"]

_TRIES = 10
"""Number of known combinations that a sampler may suggest before another one is chosen for it."""

_NONE_TRIED: frozenset[Key] = frozenset()

_DERIVED = ("gp:relative_params", "tpe:relative_params")
"""Prefixes of attributes that repeat the assignments."""


def suggest(history: History, count: int) -> tuple[Suggestion, ...]:
    """Returns the next ``count`` suggestions, or fewer if running trials must end first.

    Args:
        history: The experiment and the trials so far; the sampler avoids points of running ones.
        count: Highest number of suggestions; for each one the earlier ones count as running.

    Raises:
        SuggestionError: The sampler failed.
        MissingPackage: The algorithm needs a package that is not installed.
    """
    return Suggester(history.experiment).suggest(history, count)


def is_used_up(history: History) -> bool:
    """Returns whether no suggestion is left, even after the running trials have ended well."""
    spec = history.experiment.spec
    algorithm = algorithms.chosen_for(history.experiment)
    if algorithm.repeats:
        return algorithm.over(algorithms.settings_of(spec.algorithm), history)
    size = space_of(spec.parameters).size
    return size is not None and len(Tried().of(history.trials)) >= size


def why_over(experiment: Experiment) -> str:
    """Returns the reason, in words, why an experiment has no suggestion left."""
    return algorithms.chosen_for(experiment).ending


def new_seed(experiment: Experiment, source: str) -> int:
    """Returns the seed of a new history: the setting ``random_state``, or one from ``source``."""
    settings = algorithms.settings_of(experiment.spec.algorithm)
    seed = settings.get("random_state", settings.get("seed"))
    return int(seed) if seed is not None else derived_seed(source)


class Suggester:
    """Makes suggestions for one experiment; keeps the study between calls, to save time."""

    def __init__(self, experiment: Experiment) -> None:
        self._space = space_of(experiment.spec.parameters)
        self._algorithm = algorithms.chosen_for(experiment)
        self._settings = algorithms.settings_of(experiment.spec.algorithm)
        self._storage: HistoryStorage | None = None
        self._study: optuna.Study | None = None
        self._blind: ReseededRandomSampler | None = None
        self._propose = self._algorithm.propose
        if self._algorithm.remembers is not None:
            self._propose = self._algorithm.remembers()
        self._enqueued = enqueued_of(experiment, self._space)
        self._shifted = _Shifted()
        self._tried = Tried()

    def suggest(self, history: History, count: int) -> tuple[Suggestion, ...]:
        """Returns suggestions as the function `suggest` does."""
        suggestions: list[Suggestion] = []
        try:
            while len(suggestions) < count:
                if suggestions:
                    history = _with_pending(history, suggestions[-1])
                suggestion = self._next(history)
                if suggestion is None:
                    break
                suggestions.append(suggestion)
        except KatibflowError:
            raise
        except Exception as error:
            raise SuggestionError(
                f"the sampler of {history.experiment.spec.algorithm.algorithm_name} failed at "
                f"trial {history.next_number}: {type(error).__name__}: {error}"
            ) from error
        return tuple(suggestions)

    def _next(self, history: History) -> Suggestion | None:
        size = self._space.size
        # With conditions one branch of an endless space may be a single combination.
        asks = size is not None or bool(self._space.conditions) or bool(self._enqueued)
        tried = self._tried.of(history.trials) if asks else _NONE_TRIED
        for assignments in self._enqueued:
            if key_of(assignments) not in tried:
                return Suggestion(assignments)
        if self._algorithm.repeats:
            return self._proposed(history, 0)
        if size is not None and len(tried) >= size:
            return None
        if self._algorithm.sequence is not None:
            return Suggestion(self._next_in_sequence(history, tried))
        # What draws blindly has nothing to say, and the silence takes as long as the draw.
        with nullcontext() if self._algorithm.blind else quiet_optuna():
            for attempt in range(_TRIES):
                suggestion = self._proposed(history, attempt)
                if suggestion is None or key_of(suggestion.assignments) not in tried:
                    return suggestion
        if size is None:
            return suggestion
        return Suggestion(_untried(self._space, size, tried, chance(history, "untried")))

    def _proposed(self, history: History, attempt: int) -> Suggestion | None:
        if self._propose is not None:
            return self._propose(self._space, self._settings, history, attempt)
        if self._algorithm.blind:
            return self._drawn_blindly(history, attempt)
        return self._asked(history, attempt)

    def _sampler(self, history: History, attempt: int) -> BaseSampler:
        """Returns a new sampler, so that a study in memory is as one that was made anew."""
        assert self._algorithm.sampler is not None
        return self._algorithm.sampler(self._settings, self._seed(history, attempt))

    def _seed(self, history: History, attempt: int) -> int:
        if self._algorithm.one_seed:
            return history.seed
        return derived_seed(f"{history.seed}/{history.next_number}/{attempt}")

    @cached_property
    def _distributions(self) -> dict[str, BaseDistribution]:
        return self._space.distributions()

    def _drawn_blindly(self, history: History, attempt: int) -> Suggestion:
        """Returns what a sampler draws that looks at no trial, without a study of them."""
        if self._blind is None:
            self._blind = cast("ReseededRandomSampler", self._sampler(history, attempt))
        else:
            self._blind.reseed(self._seed(history, attempt))
        sample, distributions = self._blind.sample_independent, self._distributions
        nothing: Any = None

        def draw(dimension: Dimension) -> float | str:
            if dimension.size == 1:
                return dimension.number(dimension.point(0))
            name = dimension.name
            drawn: float | str = sample(nothing, nothing, name, distributions[name])
            return drawn

        return Suggestion(self._space.drawn(draw))

    def _next_in_sequence(self, history: History, tried: Collection[Key]) -> dict[str, str]:
        sequence = self._algorithm.sequence
        assert sequence is not None
        for index in _indices(history, self._space.size):
            assignments = sequence(self._space, history.seed, index)
            if key_of(assignments) not in tried:
                return assignments
        size = self._space.size
        assert size is not None
        return _untried(self._space, size, tried, chance(history, "untried"))

    def _asked(self, history: History, attempt: int) -> Suggestion:
        import optuna

        from katibflow.suggestion.history_storage import (
            STUDY_ATTRIBUTES,
            HistoryStorage,
            directions_of,
        )

        objective = history.experiment.spec.objective
        if self._study is None or self._storage is None:
            self._storage = HistoryStorage(self._space, objective, teaches=True)
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=history.experiment.name,
                directions=directions_of(objective),
            )
        study = self._study
        self._storage.follow(self._shifted.trials(history))
        study.sampler = self._sampler(history, attempt)
        trial = study.ask()
        assignments = self._space.drawn(lambda dimension: _drawn(trial, dimension))
        asked = self._storage.get_trial(trial.number)
        attributes = {
            key: value for key, value in asked.system_attrs.items() if not key.startswith(_DERIVED)
        }
        if self._storage.news:
            attributes[STUDY_ATTRIBUTES] = dict(self._storage.news)
        return Suggestion(assignments, attributes)


def _with_pending(history: History, suggestion: Suggestion) -> History:
    """Returns the history with a suggestion as a running trial, which the next one is beside."""
    pending = Trial(
        number=history.next_number,
        state=TrialState.RUNNING,
        assignments=suggestion.assignments,
        attributes=suggestion.attributes,
    )
    return history.with_trials([pending])


class _Shifted:
    """Puts the trials of a warm start before a history's own, which move up by their number."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Trial, Trial]] = {}

    def trials(self, history: History) -> Sequence[Trial]:
        """Returns all trials by number; a trial that has not changed stays the same object."""
        count = len(history.warm)
        if not count:
            return history.trials
        for trial in history.trials:
            known = self._known.get(trial.number)
            if known is None or known[0] is not trial:
                moved = replace(trial, number=trial.number + count)
                self._known[trial.number] = trial, moved
        return (*history.warm, *(self._known[trial.number][1] for trial in history.trials))


def _drawn(trial: optuna.Trial, dimension: Dimension) -> float | str:
    """Returns the number that the sampler draws for a dimension of a trial."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match dimension.distribution():
        case CategoricalDistribution(choices=choices):
            return str(trial.suggest_categorical(dimension.name, choices))
        case IntDistribution(low=low, high=high):
            return trial.suggest_int(dimension.name, low, high)
        case FloatDistribution(low=low, high=high, log=log):
            return trial.suggest_float(dimension.name, low, high, log=log)
        case other:
            raise TypeError(f"no sampler draws from {other}")


def _indices(history: History, size: int | None) -> Iterator[int]:
    """Yields the indices at which an algorithm looks for the next point of its sequence.

    Trial n takes point n, or the first point after it that is new; a finite sequence starts over
    once, for the points of killed trials.
    """
    start = history.next_number
    if size is None:
        yield from range(start, start + _TRIES)
        return
    yield from (index % size for index in range(start, start + size))


def _untried(
    space: Space, size: int, tried: Collection[Key], chance: random.Random
) -> dict[str, str]:
    """Returns a combination that was not tried, starting at a random index."""
    start = chance.randrange(size)
    for offset in range(len(tried) + 1):
        assignments = space.point((start + offset) % size)
        if key_of(assignments) not in tried:
            return assignments
    raise SuggestionError("every combination of the search space was tried")
