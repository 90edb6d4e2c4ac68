"""Population based training: trials continue from the checkpoints of earlier trials.

A generation is a population of trials. From its results the next one is made: the worst trials
(below the ``truncation_threshold`` quantile) are replaced by copies of the best ones (exploit), and
the others go on with values changed a little (explore): times 0.8 or 1.2, or the neighbour in a
list, or with ``resample_probability`` drawn anew. Each trial of a later generation has a parent,
and its checkpoint folder starts as a copy of its parent's; see `study.checkpoints`.

Source: Katib's ``pkg/suggestion/v1beta1/pbt/service.py``, and https://arxiv.org/abs/1711.09846.
Different on purpose: a copy of a best trial goes on from that trial's checkpoint (in Katib from
the replaced one's), values stay inside the feasible space, a change that rounds to nothing goes one
step on, and a failed trial is run again once (in Katib for ever).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import ObjectiveType
from katibflow.study.checkpoints import FOLDER_SETTING, GENERATION, PARENT
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.objectives import objective_value
from katibflow.suggestion.algorithms.base import Ability, Algorithm, Settings, Suggestion, chance
from katibflow.suggestion.algorithms.settings import RANDOM_STATE, number, text, whole
from katibflow.suggestion.space.dimensions import Choices, Dimension, Grid, Warped
from katibflow.suggestion.space.search_space import Space

__all__ = ["PBT"]

_AGAIN = "pbt:again"
"""The number of the failed trial that this one repeats."""
_POOL = "pbt:pool"
"""The numbers of the trials that a generation is made from, stored with its first trial."""


def _pbt(space: Space, settings: Settings, history: History, attempt: int) -> Suggestion:
    members = [
        trial
        for trial in history.trials
        if trial.state is not TrialState.KILLED
        and isinstance(trial.attributes.get(GENERATION), int)
    ]
    failed = _first_failed(members)
    if failed is not None:
        attributes = {key: failed.attributes[key] for key in _LINEAGE if key in failed.attributes}
        return Suggestion(dict(failed.assignments), attributes | {_AGAIN: failed.number})
    generation = max((trial.attributes[GENERATION] for trial in members), default=0)
    scores = _scores(history, members)
    present = [trial for trial in members if trial.attributes[GENERATION] == generation]
    if sum(trial.number in scores for trial in present) >= settings["n_population"]:
        pool = [trial for trial in present if trial.number in scores]
        return _member(space, settings, history, generation + 1, pool, 0, scores, opens=True)
    if generation == 0:
        dice = chance(history, "pbt")
        assignments = space.at([dice.random() for _ in space.dimensions])
        return Suggestion(assignments, {GENERATION: 0})
    numbers: list[int] = next((t.attributes[_POOL] for t in present if _POOL in t.attributes), [])
    pool = [trial for trial in members if trial.number in scores and trial.number in numbers]
    if not pool:
        pool = [t for t in members if t.number in scores and t.attributes[GENERATION] < generation]
    index = sum(_AGAIN not in trial.attributes for trial in present)
    return _member(space, settings, history, generation, pool, index, scores)


_LINEAGE = (GENERATION, PARENT, _POOL)


def _first_failed(members: list[Trial]) -> Trial | None:
    again = {trial.attributes[_AGAIN] for trial in members if _AGAIN in trial.attributes}
    for trial in members:
        is_first = _AGAIN not in trial.attributes and trial.number not in again
        if trial.state is TrialState.FAIL and is_first:
            return trial
    return None


def _scores(history: History, members: list[Trial]) -> Mapping[int, float]:
    """Returns trial number to score; a larger score is better."""
    objective = history.experiment.spec.objective
    sign = -1.0 if objective.type is ObjectiveType.MINIMIZE else 1.0
    values = {trial.number: objective_value(objective, trial) for trial in members}
    return {
        number: sign * value
        for number, value in values.items()
        if value is not None and math.isfinite(value)
    }


def _member(
    space: Space,
    settings: Settings,
    history: History,
    generation: int,
    pool: list[Trial],
    index: int,
    scores: Mapping[int, float],
    *,
    opens: bool = False,
) -> Suggestion:
    """Returns the suggestion for an index within its generation, made from the pool."""
    dice = random.Random(f"{history.seed}/pbt/{generation}")
    worst, others, best = _segments(pool, settings["truncation_threshold"], scores)
    dice.shuffle(worst)
    dice.shuffle(others)
    size = settings["n_population"]
    worst = worst[: int(size * settings["truncation_threshold"])]
    plan = [dice.choice(best) for _ in worst] + others[: size - len(worst)]
    parent = plan[index % len(plan)]
    values = dict(parent.assignments)
    if index % len(plan) >= len(worst):
        values = _explored(space, settings, values, chance(history, "pbt"))
    attributes: dict[str, Any] = {GENERATION: generation, PARENT: parent.number}
    if opens:
        attributes[_POOL] = [trial.number for trial in pool]
    return Suggestion(values, attributes)


def _segments(
    pool: list[Trial], threshold: float, scores: Mapping[int, float]
) -> tuple[list[Trial], list[Trial], list[Trial]]:
    """Returns the trials to replace, the trials to continue, and the best of the latter."""
    import numpy

    found = [scores[trial.number] for trial in pool]
    low, high = map(float, numpy.quantile(found, (threshold, 1 - threshold)))
    worst = [trial for trial in pool if scores[trial.number] < low]
    others = [trial for trial in pool if scores[trial.number] >= low]
    return worst, others, [trial for trial in others if scores[trial.number] >= high]


def _explored(
    space: Space, settings: Settings, values: dict[str, str], dice: random.Random
) -> dict[str, str]:
    resample = settings.get("resample_probability")
    for dimension in space.dimensions:
        if resample is None:
            values[dimension.name] = _perturbed(dimension, values[dimension.name], dice)
        elif dice.random() < resample:
            values[dimension.name] = dimension.at(dice.random())
    return values


def _perturbed(dimension: Dimension, text: str, dice: random.Random) -> str:
    if isinstance(dimension, Choices):
        index = dimension.items.index(text) + dice.choice((-1, 1))
        return dimension.items[index % len(dimension.items)]
    factor = dice.choice((0.8, 1.2))
    grid = dimension.grid if isinstance(dimension, Warped) else dimension
    if isinstance(grid, Grid):
        value = Decimal(text)
        index = int(grid.number(text))
        changed = grid.nearest(value * Decimal(str(factor)))
        if changed == index:
            upwards = (factor > 1) == (value >= 0)
            changed = min(max(index + (1 if upwards else -1), 0), grid.size - 1)
        return grid.point(changed)
    low, high = dimension.at(0.0), dimension.at(1.0)
    number = float(text) * factor
    if number <= float(low):
        return low
    return high if number >= float(high) else repr(number)


def _faults(parts: Parts, settings: Settings) -> Iterator[Fault]:
    assert parts.algorithm is not None
    for index, setting in enumerate(parts.algorithm.algorithm_settings):
        if setting.name == FOLDER_SETTING and not setting.value.startswith("/"):
            path = f"spec.algorithm.algorithmSettings[{index}].value"
            yield Fault(path, f'"{setting.value}"', "an absolute path inside the containers")


PBT = Algorithm(
    {
        **RANDOM_STATE,
        FOLDER_SETTING: text("the path of the checkpoint folder inside the containers"),
        "n_population": whole(5),
        "truncation_threshold": number(least=0, most=1),
        "resample_probability": number(least=0, most=1),
    },
    required=(FOLDER_SETTING, "n_population", "truncation_threshold"),
    propose=_pbt,
    check=_faults,
    repeats=True,
    lacks=frozenset(Ability),
)
