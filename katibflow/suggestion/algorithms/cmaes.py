"""CMA-ES, whose state is replayed from the history for each suggestion.

Each trial stores its generation. The first trial of a generation also stores the numbers of the
trials that the distribution was updated with. So the distribution can be computed again from the
history alone, in whatever order trials ended, and nothing is ever unpickled.

Source: Optuna's CmaEsSampler, which Katib calls, for the start (mean in the middle, a sixth of the
range wide) and the treatment of steps; its restarts (IPOP) up to version 4.3. Different on purpose:
trials that were stopped early count with their objective, as everywhere in Katib.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import ObjectiveType, ParameterType
from katibflow.study.history import History
from katibflow.study.objectives import objective_value
from katibflow.suggestion.algorithms.base import (
    Ability,
    Algorithm,
    Settings,
    Suggestion,
    chance,
    derived_seed,
)
from katibflow.suggestion.algorithms.settings import RANDOM_STATE, number, one_of
from katibflow.suggestion.space.dimensions import Dimension
from katibflow.suggestion.space.search_space import Space

if TYPE_CHECKING:
    from cmaes import CMA  # type: ignore[import-untyped]

__all__ = ["CMAES"]

_GENERATION = "cmaes:generation"
_LEARNT_FROM = "cmaes:learnt_from"
_WIDTH = 1 / 6
_LEAST_WIDTH = 1e-10


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
    restarts = generation = 0
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
        if settings.get("restart_strategy") == "ipop" and optimizer.should_stop():
            restarts += 1
            optimizer = _started(searched, settings, history, restarts)
        if not usable and not members.get(generation) and generation not in learnt:
            return optimizer, generation, numbers


def _started(
    searched: Sequence[Dimension], settings: Settings, history: History, restarts: int
) -> CMA:
    import numpy
    from cmaes import CMA

    count = len(searched)
    mean = numpy.full(count, 0.5)
    if restarts:
        seed = derived_seed(f"{history.seed}/restart/{restarts}")
        mean = numpy.random.RandomState(seed).rand(count)
    return CMA(
        mean=mean,
        sigma=max(settings.get("sigma", _WIDTH), _LEAST_WIDTH),
        bounds=numpy.array([[0.0, 1.0]] * count),
        n_max_resampling=10 * count,
        seed=0,
        population_size=(4 + math.floor(3 * math.log(count))) * 2**restarts,
    )


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
        **RANDOM_STATE,
        "sigma": number(least=0),
        "restart_strategy": one_of("ipop", "none", "None"),
    },
    propose=_cmaes,
    check=_faults,
    packages=("cmaes==0.13.1",),
    lacks=frozenset(Ability),
)
