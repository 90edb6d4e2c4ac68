"""Optuna's random sampler, which can be seeded again. Import it late, because it imports Optuna.

A new generator takes its first state from the machine's entropy, which takes as long as the draw of
several parameters.
"""

from __future__ import annotations

from optuna.samplers import RandomSampler

__all__ = ["ReseededRandomSampler"]


class ReseededRandomSampler(RandomSampler):
    """A `RandomSampler` that can go on as a new one of another seed."""

    def reseed(self, seed: int) -> None:
        """Makes the next draws those of a new sampler.

        Args:
            seed: From 0 to 2**32 - 1.
        """
        self._rng.rng.seed(seed)
