"""The algorithms grid and sobol, which go through a fixed sequence of points."""

from __future__ import annotations

import math
from collections.abc import Iterator

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import ParameterType
from katibflow.suggestion.algorithms.base import Ability, Algorithm, Settings
from katibflow.suggestion.algorithms.settings import RANDOM_STATE
from katibflow.suggestion.space.search_space import Space

__all__ = ["GRID", "SOBOL"]

_MOST_SOBOL_PARAMETERS = 21_201
"""The number of parameters for which scipy has direction numbers."""


def _grid(space: Space, seed: int, index: int) -> dict[str, str]:
    """Returns point ``index`` of an order that fills the grid evenly, however early it stops.

    Its stride is near the golden share of the grid's size.
    """
    size = space.size
    assert size is not None
    stride = max(1, round(size * 0.6180339887))
    while math.gcd(stride, size) != 1:
        stride += 1
    return space.point((seed + stride * index) % size)


def _grid_faults(parts: Parts, settings: Settings) -> Iterator[Fault]:
    for index, parameter in parts.parameters:
        space = parameter.feasible_space
        if (
            parameter.type is ParameterType.DOUBLE
            and space.list is None
            and space.step is None
            and space.min != space.max
        ):
            yield Fault(
                f"spec.parameters[{index}].feasibleSpace.step", "", "a number, for algorithm grid"
            )


def _sobol(space: Space, seed: int, index: int) -> dict[str, str]:
    from scipy.stats.qmc import Sobol

    engine = Sobol(len(space.dimensions), scramble=True, rng=seed)
    if index:
        engine.fast_forward(index)
    return space.at([float(share) for share in engine.random(1)[0]])


def _sobol_faults(parts: Parts, settings: Settings) -> Iterator[Fault]:
    count = len(parts.parameters)
    if count > _MOST_SOBOL_PARAMETERS:
        allowed = f"at most {_MOST_SOBOL_PARAMETERS}, for algorithm sobol"
        yield Fault("spec.parameters", f"{count}", allowed)


GRID = Algorithm(
    RANDOM_STATE,
    sequence=_grid,
    check=_grid_faults,
    lacks=frozenset({Ability.WARM_START}),
)
SOBOL = Algorithm(
    RANDOM_STATE,
    sequence=_sobol,
    check=_sobol_faults,
    packages=("scipy",),
    lacks=frozenset({Ability.CONDITIONS, Ability.WARM_START}),
)
