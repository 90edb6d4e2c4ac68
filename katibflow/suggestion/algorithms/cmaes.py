"""CMA-ES, whose state is replayed from the history.

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import ObjectiveType, ParameterType
from katibflow.study.history import SEEDS, History, Trial
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


_Point = tuple[Any, float]
"""A point in the unit cube, and its value to minimize."""


class _Replay:
    """Makes suggestions for one experiment, and keeps the optimizer while the history goes on.

    The optimizer is that of a new replay: what has become of the trials that it has learnt from is
    compared each time, and where they differ the replay begins anew.
    """

    def __init__(self) -> None:
        self._points: dict[int, tuple[Trial, _Point | None]] = {}
        self._told: list[tuple[list[int], list[_Point]]] = []
        self._at: tuple[CMA, Restarts] | None = None

    def __call__(
        self, space: Space, settings: Settings, history: History, attempt: int
    ) -> Suggestion:
        """Returns the next suggestion."""
        dice = chance(history, f"cmaes/{attempt}")
        shares = {dimension.name: dice.random() for dimension in space.dimensions}
        searched = [d for d in space.dimensions if d.ordered and d.size != 1]
        attributes: dict[str, Any] = {}
        if searched:
            optimizer, generation, news = self._replayed(searched, settings, history)
            optimizer.reseed_rng(derived_seed(f"{history.seed}/{history.next_number}/{attempt}"))
            shares |= zip((d.name for d in searched), map(float, optimizer.ask()), strict=True)
            attributes = {_GENERATION: generation} | ({_LEARNT_FROM: news} if news else {})
        return Suggestion(space.at(list(shares.values())), attributes)

    def _replayed(
        self, searched: Sequence[Dimension], settings: Settings, history: History
    ) -> tuple[CMA, int, list[int]]:
        """Returns the optimizer after all full generations, and the present generation's number.

        The third value holds the numbers of the trials that the optimizer was last updated with; it
        is empty if a trial has stored them.
        """
        course = self._course(searched, history)
        if self._at is None or not self._goes_on(course):
            restarts = Restarts(
                settings.get("restart_strategy", "none"), _population(len(searched))
            )
            self._told = []
            self._at = _started(searched, settings, history, restarts), restarts
        optimizer, restarts = self._at
        generation = len(self._told)
        if self._told and course.is_news(generation - 1, len(self._told[-1][0])):
            return optimizer, generation, self._told[-1][0]
        while True:
            size = optimizer.population_size
            numbers, _ = course.numbers(generation, size)
            if len(numbers) < size:
                return optimizer, generation, []
            points = [course.points[number] for number in numbers]
            optimizer.tell(list(points))
            self._told.append((numbers, points))
            is_news = course.is_news(generation, size)
            generation += 1
            if restarts.strategy != "none" and optimizer.should_stop():
                restarts = restarts.next(optimizer.generation, history.seed)
                optimizer = _started(searched, settings, history, restarts)
            self._at = optimizer, restarts
            if is_news:
                return optimizer, generation, numbers

    def _goes_on(self, course: _Course) -> bool:
        """Returns whether a new replay would come through all that the optimizer was told."""
        for generation, (numbers, points) in enumerate(self._told):
            found, _ = course.numbers(generation, len(numbers))
            if found != numbers or any(
                course.points[number] is not point
                for number, point in zip(numbers, points, strict=True)
            ):
                return False
            is_last = generation == len(self._told) - 1
            if not is_last and course.is_news(generation, len(numbers)):
                return False
        return True

    def _course(self, searched: Sequence[Dimension], history: History) -> _Course:
        objective = history.experiment.spec.objective
        sign = 1.0 if objective.type is ObjectiveType.MINIMIZE else -1.0
        known = self._points
        course = _Course({}, {}, {})
        for trial in history.trials:
            generation = trial.attributes.get(_GENERATION)
            if _GENERATION not in trial.attributes:
                continue
            before = known.get(trial.number)
            if before is None or before[0] is not trial:
                value = objective_value(objective, trial)
                before = known[trial.number] = trial, _point(searched, trial, sign, value)
            if before[1] is not None:
                course.points[trial.number] = before[1]
            if isinstance(generation, int):
                if before[1] is not None:
                    course.members.setdefault(generation, []).append(trial.number)
                numbers = trial.attributes.get(_LEARNT_FROM)
                if isinstance(numbers, list):
                    course.learnt.setdefault(generation, numbers)
        return course


@dataclass(frozen=True)
class _Course:
    """The generations of a history.

    Attributes:
        points: Trial number to its point, for trials with a value.
        members: Generation to the numbers of its trials with a value.
        learnt: Generation to the numbers of the trials that its distribution was updated with.
    """

    points: dict[int, _Point]
    members: dict[int, list[int]]
    learnt: dict[int, list[int]]

    def numbers(self, generation: int, size: int) -> tuple[list[int], bool]:
        """Returns the trials that a generation of some size ends with, and if they are on record.

        They are fewer than ``size`` while the generation goes on.
        """
        recorded = self.learnt.get(generation + 1, [])
        if len(recorded) == size and all(number in self.points for number in recorded):
            return recorded, True
        return self.members.get(generation, [])[:size], False

    def is_news(self, generation: int, size: int) -> bool:
        """Returns whether no trial is there yet that says that a full generation is over."""
        begun = self.members.get(generation + 1) or generation + 1 in self.learnt
        return not begun and not self.numbers(generation, size)[1]


def _point(
    searched: Sequence[Dimension], trial: Trial, sign: float, value: float | None
) -> _Point | None:
    """Returns a trial's point, or None if it has no value or is not in the search space."""
    import numpy

    if value is None or not math.isfinite(value):
        return None
    try:
        shares = [d.share(trial.assignments[d.name]) for d in searched]
    except (KeyError, ValueError):
        return None
    return numpy.array(shares), sign * value


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
    remembers=_Replay,
    check=_faults,
    packages=("cmaes",),
    lacks=frozenset(Ability),
)
