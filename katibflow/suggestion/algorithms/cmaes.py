"""CMA-ES, whose state is replayed from the history for each suggestion.

Each trial stores its generation. The first trial of a generation also stores the numbers of the
trials that the distribution was updated with. So the distribution can be computed again from the
history alone, in whatever order trials ended, and nothing is ever unpickled.

Source: goptuna's ``cmaes/sampler.go``, which Katib calls by default: the start in the middle,
``sigma`` in the parameters' own units, the restarts and their populations; Katib's
``pkg/suggestion/v1beta1/goptuna`` for the settings. Different on purpose: without sigma each
parameter starts with a sixth of its own range, where goptuna takes the least sixth for all of them;
a distribution that the file gives is searched on its own scale; trials that were stopped early
count with their objective, as everywhere in Katib.
"""

from __future__ import annotations

import math
import random
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import ObjectiveType, ParameterType
from katibflow.study.history import SEEDS, History
from katibflow.study.objectives import objective_value
from katibflow.suggestion.algorithms.base import (
    Ability,
    Algorithm,
    SettingRule,
    Settings,
    Suggestion,
    chance,
    derived_seed,
)
from katibflow.suggestion.algorithms.settings import number, one_of
from katibflow.suggestion.space.dimensions import Dimension
from katibflow.suggestion.space.search_space import Space

if TYPE_CHECKING:
    from cmaes import CMA  # type: ignore[import-untyped]

__all__ = ["CMAES", "Restarts"]

_GENERATION = "cmaes:generation"
_LEARNT_FROM = "cmaes:learnt_from"
_WIDTH = 1 / 6
_LEAST_WIDTH = 1e-10
_WIDEST = 1e3
_STEP = 1e-3


def _cmaes(space: Space, settings: Settings, history: History, attempt: int) -> Suggestion:
    dice = chance(history, f"cmaes/{attempt}")
    shares = {dimension.name: dice.random() for dimension in space.dimensions}
    searched = [d for d in space.dimensions if d.ordered and d.size != 1]
    attributes: dict[str, Any] = {}
    if searched:
        optimizer, generation, news = _replayed(searched, settings, history)
        optimizer.reseed_rng(derived_seed(f"{history.seed}/{history.next_number}/{attempt}"))
        shares |= zip((d.name for d in searched), map(float, optimizer.ask()), strict=True)
        attributes = {_GENERATION: generation} | ({_LEARNT_FROM: news} if news else {})
    return Suggestion(space.at(list(shares.values())), attributes)


def _replayed(
    searched: Sequence[Dimension], settings: Settings, history: History
) -> tuple[CMA, int, list[int]]:
    """Returns the optimizer after all full generations, and the present generation's number.

    The third value holds the numbers of the trials that the optimizer was last updated with; it is
    empty if a trial has stored them.
    """
    points = _points(searched, history)
    members: dict[int, list[int]] = {}
    learnt: dict[int, list[int]] = {}
    for trial in history.trials:
        generation = trial.attributes.get(_GENERATION)
        if isinstance(generation, int):
            if trial.number in points:
                members.setdefault(generation, []).append(trial.number)
            numbers = trial.attributes.get(_LEARNT_FROM)
            if isinstance(numbers, list):
                learnt.setdefault(generation, numbers)
    generation = 0
    restarts = Restarts(settings.get("restart_strategy", "none"), _population(len(searched)))
    optimizer = _started(searched, settings, history, restarts)
    while True:
        size = optimizer.population_size
        recorded = learnt.get(generation + 1, [])
        usable = len(recorded) == size and all(number in points for number in recorded)
        numbers = recorded if usable else members.get(generation, [])[:size]
        if len(numbers) < size:
            return optimizer, generation, []
        optimizer.tell([points[number] for number in numbers])
        generation += 1
        if restarts.strategy != "none" and optimizer.should_stop():
            restarts = restarts.next(optimizer.generation, history.seed)
            optimizer = _started(searched, settings, history, restarts)
        if not usable and not members.get(generation) and generation not in learnt:
            return optimizer, generation, numbers


@dataclass(frozen=True)
class Restarts:
    """What has been restarted so far, and how many trials a generation has.

    ``ipop`` doubles the population each time. ``bipop`` does so when its small populations have had
    as many trials as its large ones, and starts with a small one otherwise.

    Attributes:
        strategy: ``none``, ``ipop`` or ``bipop``.
        population: The number of trials in a generation.
        first: The population before any restart.
        count: The number of restarts.
        doubled: The number of restarts with a doubled population.
        small: The number of trials of small populations, of which the first is one.
        large: The number of trials of large populations.
        is_large: Whether the population is a large one.
    """

    strategy: str
    population: int
    first: int = 0
    count: int = 0
    doubled: int = 0
    small: int = 0
    large: int = 0
    is_large: bool = False

    def next(self, generations: int, seed: int) -> Restarts:
        """Returns the state after one more restart.

        Args:
            generations: The number of generations since the last restart.
            seed: The seed of the history.
        """
        first = self.first or self.population
        trials = self.population * generations
        small = self.small + (0 if self.is_large else trials)
        large = self.large + (trials if self.is_large else 0)
        if self.strategy == "bipop" and small < large:
            share = random.Random(f"{seed}/population/{self.count + 1}").random() ** 2
            population = math.floor(first * (2**self.doubled) ** share)
            is_large, doubled = False, self.doubled
        else:
            is_large, doubled = True, self.doubled + 1
            population = first * 2**doubled
        return replace(
            self,
            population=population,
            first=first,
            count=self.count + 1,
            doubled=doubled,
            small=small,
            large=large,
            is_large=is_large,
        )


def _population(count: int) -> int:
    """Returns the number of trials of a generation for a number of parameters."""
    return 4 + math.floor(3 * math.log(count))


def _started(
    searched: Sequence[Dimension], settings: Settings, history: History, restarts: Restarts
) -> CMA:
    import numpy
    from cmaes import CMA

    count = len(searched)
    mean = numpy.full(count, 0.5)
    if restarts.count:
        seed = derived_seed(f"{history.seed}/restart/{restarts.count}")
        mean = numpy.random.RandomState(seed).rand(count)
    widths = _widths(searched, settings.get("sigma", 0.0))
    sigma = min(max(widths), _WIDEST)
    return CMA(
        mean=mean,
        sigma=sigma,
        bounds=numpy.array([[0.0, 1.0]] * count),
        n_max_resampling=10 * count,
        seed=0,
        population_size=restarts.population,
        cov=numpy.diag([(width / max(widths)) ** 2 for width in widths]),
    )


def _widths(searched: Sequence[Dimension], sigma: float) -> list[float]:
    """Returns the standard deviation of each parameter at the start, as a share of its range.

    Args:
        searched: The parameters.
        sigma: The standard deviation in the parameters' own units; 0 or less for a sixth of each
            range.
    """
    if sigma <= 0:
        return [_WIDTH] * len(searched)
    return [max(sigma / max(_units(each), sys.float_info.min), _LEAST_WIDTH) for each in searched]


def _units(dimension: Dimension) -> float:
    """Returns a range's width in its own units; where it is no even scale, as in its middle."""
    if dimension.size is not None:
        first, last = (float(dimension.point(index)) for index in (0, dimension.size - 1))
        return (last - first) * dimension.size / (dimension.size - 1)
    below, above = (float(dimension.at(0.5 + step)) for step in (-_STEP, _STEP))
    return (above - below) / (2 * _STEP)


def _points(searched: Sequence[Dimension], history: History) -> Mapping[int, tuple[Any, float]]:
    """Returns trial number to the point in the unit cube and the value to minimize."""
    import numpy

    objective = history.experiment.spec.objective
    sign = 1.0 if objective.type is ObjectiveType.MINIMIZE else -1.0
    points: dict[int, tuple[Any, float]] = {}
    for trial in history.trials:
        value = objective_value(objective, trial)
        if value is None or not math.isfinite(value) or _GENERATION not in trial.attributes:
            continue
        try:
            shares = [d.share(trial.assignments[d.name]) for d in searched]
        except (KeyError, ValueError):
            continue
        points[trial.number] = numpy.array(shares), sign * value
    return points


def _seed_of(text: str) -> int:
    """Returns the seed of any whole number of 64 bits, as goptuna takes them."""
    value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,19}", text) else 2**63
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value % SEEDS


def _strategy(text: str) -> str:
    # Optuna's service, which Katib had before, has None for none.
    return str(one_of("ipop", "bipop", "none", "None").read(text)).lower()


def _faults(parts: Parts, settings: Settings) -> Iterator[Fault]:
    numeric = [
        parameter
        for _, parameter in parts.parameters
        if parameter.type in (ParameterType.DOUBLE, ParameterType.INT)
    ]
    if parts.complete and len(numeric) < 2:
        allowed = "at least two, for algorithm cmaes (only double and int count)"
        yield Fault("spec.parameters", f"{len(numeric)} numeric", allowed)


CMAES = Algorithm(
    {
        "random_state": SettingRule("a whole number", _seed_of),
        "sigma": number(),
        "restart_strategy": SettingRule("ipop, bipop, none", _strategy),
    },
    unknown_settings="passes over",
    propose=_cmaes,
    check=_faults,
    packages=("cmaes",),
    lacks=frozenset(Ability),
)
