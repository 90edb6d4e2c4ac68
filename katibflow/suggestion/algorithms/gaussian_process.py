"""Optuna's Gaussian process, bounded in memory. Import the module late, because it imports Optuna.

Optuna lists every value of an integer to find the best one: 16 GiB for 2**32 of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GPSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

__all__ = ["MOST_VALUES", "BoundedGPSampler"]

MOST_VALUES = 4096
"""Values of an integer that are listed; one with more is searched as a float, and rounded."""


class BoundedGPSampler(GPSampler):
    """A `GPSampler` that takes an integer with very many values for a continuous parameter."""

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
        return _rounded(super().sample_relative(study, trial, changed), wide)


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
