"""Optuna's TPE, which goes through the finished trials once, not once for each parameter.

Its suggestions are those of Optuna's own sampler. What it computes from the finished trials alone,
as which of them are the good ones, stays in the storage until one of them changes: the parameters
of a trial share it, and so do the trials that are asked for together. Import the module late,
because it imports Optuna.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe import sampler as optunas
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from katibflow.suggestion.history_storage import HistoryStorage

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OnceTPESampler"]

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class OnceTPESampler(TPESampler):
    """A `TPESampler` for a study in a `HistoryStorage`; in any other one it is as Optuna's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, constant_liar=True)
        if self._group:
            self._group_decomposed_search_space = _Groups(include_pruned=True)

    def _sample(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        storage = study._storage
        if not isinstance(storage, HistoryStorage):
            return super()._sample(study, trial, search_space)
        split = storage.memory.get("tpe")
        if split is None:
            split = storage.memory["tpe"] = self._split(study)
        below, above = split
        running = storage.get_all_trials(study._study_id, False, (TrialState.RUNNING,))
        beside = [each for each in running if each.number != trial.number]
        good = self._build_parzen_estimator(study, search_space, below, handle_below=True)
        rest = self._build_parzen_estimator(
            study, search_space, _Part(above, beside) if beside else above, handle_below=False
        )
        samples = good.sample(self._rng.rng, self._n_ei_candidates)
        values = self._compute_acquisition_func(samples, good, rest)
        chosen = self._compare(samples, values)
        return {name: each.to_external_repr(chosen[name]) for name, each in search_space.items()}

    def _split(self, study: Study) -> tuple[_Part, _Part]:
        """Returns the good ones of the finished trials, and the others."""
        trials = study._get_trials(deepcopy=False, states=_FINISHED, use_cache=False)
        gamma = self._gamma
        if gamma is None:
            several = len(study.directions) > 1
            gamma = optunas.default_gamma_multiobjective if several else optunas.default_gamma
        below, above = optunas._split_trials(study, trials, gamma(len(trials)))
        return _Part(below), _Part(above)

    def _get_internal_repr(
        self, trials: list[FrozenTrial], search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, NDArray[Any]]:
        if not isinstance(trials, _Part):
            return super()._get_internal_repr(trials, search_space, study)
        key = tuple(search_space)
        columns = trials.columns.get(key)
        if columns is None:
            columns = trials.columns[key] = self._columns(trials, search_space, study)
        return columns

    def _columns(
        self, part: _Part, search_space: dict[str, BaseDistribution], study: Study
    ) -> dict[str, NDArray[Any]]:
        names = search_space.keys()
        if part.finished is None:
            params = [trial.params for trial in part if names <= trial.params.keys()]
            return {name: _column(name, each, params) for name, each in search_space.items()}
        finished = self._get_internal_repr(part.finished, search_space, study)
        beside = [each for each in part.beside if names <= each.params.keys()]
        if not beside:
            return finished
        numbers = part.finished.numbers(frozenset(names))
        places = numpy.searchsorted(numbers, [each.number for each in beside])
        more = super()._get_internal_repr(beside, search_space, study)
        return {
            name: numpy.insert(values, places, more[name]) if len(values) else more[name]
            for name, values in finished.items()
        }


def _column(
    name: str, distribution: BaseDistribution, params: Sequence[dict[str, Any]]
) -> NDArray[Any]:
    """Returns the values of a parameter as Optuna's distribution represents them, as floats."""
    values = [each[name] for each in params]
    if isinstance(distribution, CategoricalDistribution):
        places = {choice: place for place, choice in enumerate(distribution.choices)}
        values = [places[value] for value in values]
    return numpy.array(values, dtype=float)


class _Part(list[FrozenTrial]):
    """Some of a study's trials, with their values as columns once these were computed.

    Args:
        finished: Trials that have ended; by number.
        beside: Running trials that count with them, which are merged by number.
    """

    def __init__(self, finished: Sequence[FrozenTrial], beside: Sequence[FrozenTrial] = ()) -> None:
        super().__init__(finished if not beside else ())
        self.finished = finished if beside and isinstance(finished, _Part) else None
        self.beside = beside
        self.columns: dict[tuple[str, ...], dict[str, NDArray[Any]]] = {}
        self._numbers: dict[frozenset[str], list[int]] = {}

    def numbers(self, names: frozenset[str]) -> list[int]:
        """Returns the numbers of the trials that have all of some parameters."""
        known = self._numbers.get(names)
        if known is None:
            known = [trial.number for trial in self if names <= trial.params.keys()]
            self._numbers[names] = known
        return known


class _Groups(_GroupDecomposedSearchSpace):
    """The parameters that occur together, from each combination of them once."""

    def calculate(self, study: Study, use_cache: bool = False) -> _SearchSpaceGroup:
        """Returns the groups; the trials of a `HistoryStorage` share their distributions."""
        trials = study._get_trials(deepcopy=False, states=_FINISHED, use_cache=use_cache)
        groups = _SearchSpaceGroup()
        for distributions in {
            id(each.distributions): each.distributions for each in trials
        }.values():
            groups.add_distributions(distributions)
        return groups
