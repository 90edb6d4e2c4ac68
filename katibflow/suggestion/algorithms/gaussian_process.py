"""Optuna's Gaussian process, bounded in memory, and taught by trials that failed.

Optuna lists every value of an integer to find the best one: 16 GiB for 2**32 of them. And it learns
from complete trials alone, so it would go on where trials fail: nothing is known there, which it
takes for a reason to look. Import the module late, because it imports Optuna.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, cast

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GPSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = ["MOST_VALUES", "BoundedGPSampler"]

MOST_VALUES = 4096
"""Values of an integer that are listed; one with more is searched as a float, and rounded."""


class BoundedGPSampler(GPSampler):
    """A `GPSampler` that takes an integer with very many values for a continuous parameter.

    A trial that is PRUNED and has no value counts as a complete one with the worst values so far.
    """

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Returns the sampled values; integers are integers in their range."""
        wide = {
            name: each
            for name, each in search_space.items()
            if isinstance(each, IntDistribution) and _values(each) > MOST_VALUES
        }
        changed = {
            name: _continuous(wide[name]) if name in wide else each
            for name, each in search_space.items()
        }
        taught = cast(Study, _Taught(study, search_space))
        return _rounded(super().sample_relative(taught, trial, changed), wide)


class _Taught:
    """A study in which trials without a value are complete, with the worst values of the others.

    Args:
        study: The study. It is asked for all but its trials.
        space: The parameters that a trial must have to teach something.
    """

    def __init__(self, study: Study, space: Mapping[str, BaseDistribution]) -> None:
        self._study = study
        self._space = space

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def _get_trials(
        self, deepcopy: bool, states: Container[TrialState], use_cache: bool
    ) -> list[FrozenTrial]:
        """Returns trials by number, as `Study` does; the sampler asks for complete ones."""
        trials = self._study._get_trials(deepcopy=False, states=None, use_cache=use_cache)
        complete = [each for each in trials if each.state is TrialState.COMPLETE]
        return [
            self._complete(each, complete) if complete and self._is_fruitless(each) else each
            for each in trials
            if each.state in states or (complete and self._is_fruitless(each))
        ]

    def _is_fruitless(self, trial: FrozenTrial) -> bool:
        has_space = self._space.keys() <= trial.params.keys()
        return trial.state is TrialState.PRUNED and trial.values is None and has_space

    def _complete(self, trial: FrozenTrial, others: Sequence[FrozenTrial]) -> FrozenTrial:
        greatest = [max(of) for of in zip(*(each.values for each in others), strict=True)]
        least = [min(of) for of in zip(*(each.values for each in others), strict=True)]
        worst = [
            high if direction is StudyDirection.MINIMIZE else low
            for direction, high, low in zip(self._study.directions, greatest, least, strict=True)
        ]
        made = FrozenTrial(
            number=trial.number,
            state=TrialState.COMPLETE,
            value=None,
            values=worst,
            datetime_start=trial.datetime_start,
            datetime_complete=trial.datetime_complete,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=trial.user_attrs,
            system_attrs=dict(trial.system_attrs),
            intermediate_values={},
            trial_id=trial._trial_id,
        )
        for name in others[0].constraints:
            made.set_constraint(name, max(each.constraints[name] for each in others))
        return made


def _values(distribution: IntDistribution) -> int:
    return (distribution.high - distribution.low) // distribution.step + 1


def _continuous(distribution: IntDistribution) -> FloatDistribution:
    return FloatDistribution(distribution.low, distribution.high, log=distribution.log)


def _rounded(found: dict[str, Any], wide: Mapping[str, IntDistribution]) -> dict[str, Any]:
    return {
        name: _nearest(wide[name], value) if name in wide else value
        for name, value in found.items()
    }


def _nearest(distribution: IntDistribution, value: float) -> int:
    steps = round((value - distribution.low) / distribution.step)
    return distribution.low + min(max(steps, 0), _values(distribution) - 1) * distribution.step
