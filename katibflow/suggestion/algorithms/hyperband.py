"""Hyperband: it runs many trials with few resources, and the best of them again with more.

A bracket starts with trials of one resource; each further stage runs the best of the stage before
again with ``eta`` times as much. The first bracket starts with the smallest resource, the last one
with all of it. Unlike in Optuna's pruner of this name, the resource is a parameter of the trial.

Source: Katib's ``pkg/suggestion/v1beta1/hyperband/service.py``: the sizes and resources of the
brackets and stages, and random values inside the feasible space for all but the resource, which is
set whatever its feasible space says. Different on purpose: a stage does not depend on how many
trials are asked for at once, so that it may be made in batches and is over when all of it has
ended; and trials that failed or were stopped early are not promoted, where Katib gives up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import ExperimentSpec, ObjectiveType
from katibflow.printing import counted
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.objectives import objective_value
from katibflow.suggestion.algorithms.base import Ability, Algorithm, Settings, Suggestion, chance
from katibflow.suggestion.algorithms.settings import RANDOM_STATE, number, text
from katibflow.suggestion.space.search_space import Space

__all__ = ["HYPERBAND"]

_STAGE = "hyperband:stage"
"""The bracket (its number of further stages) and the stage (from 0) of a trial."""

_OF = "hyperband:of"
"""The number of the trial that this one repeats with more resources."""

_ETA = 3.0
_CLOSE = 1e-9


@dataclass(frozen=True)
class _Position:
    """The position of the next trial: its bracket, its stage, and the trial that it repeats."""

    bracket: int
    stage: int
    of: Trial | None


@dataclass(frozen=True)
class _Wait:
    """The next trial is known only after running trials have ended."""


def _hyperband(
    space: Space, settings: Settings, history: History, attempt: int
) -> Suggestion | None:
    position = _next_position(settings, history)
    if not isinstance(position, _Position):
        return None
    if position.of is None:
        dice = chance(history, "hyperband")
        assignments = space.at([dice.random() for _ in space.dimensions])
    else:
        assignments = dict(position.of.assignments)
    assignments[settings["resource_name"]] = str(_resource(settings, position))
    attributes: dict[str, Any] = {_STAGE: [position.bracket, position.stage]}
    if position.of is not None:
        attributes[_OF] = position.of.number
    return Suggestion(assignments, attributes)


def _is_over(settings: Settings, history: History) -> bool:
    return _next_position(settings, history) is None


def _next_position(settings: Settings, history: History) -> _Position | _Wait | None:
    stages: dict[tuple[int, int], list[Trial]] = {}
    for trial in history.trials:
        position = trial.attributes.get(_STAGE)
        if (
            trial.state is not TrialState.KILLED
            and isinstance(position, list)
            and len(position) == 2
        ):
            stages.setdefault((position[0], position[1]), []).append(trial)
    for bracket in range(_last(settings), -1, -1):
        size = _size(settings, bracket)
        before: list[Trial] = []
        for stage in range(bracket + 1):
            placed = stages.get((bracket, stage), [])
            if stage == 0:
                if len(placed) < size:
                    return _Position(bracket, 0, None)
            else:
                if any(not trial.state.is_finished for trial in before):
                    return _Wait()
                again = {trial.attributes.get(_OF) for trial in placed}
                for trial in _best(history, before)[: _promoted(settings, size, stage)]:
                    if trial.number not in again:
                        return _Position(bracket, stage, trial)
            before = placed
    return None


def _best(history: History, trials: list[Trial]) -> list[Trial]:
    """Returns the trials that completed, the best first; on a tie the earlier one first."""
    objective = history.experiment.spec.objective
    sign = 1.0 if objective.type is ObjectiveType.MINIMIZE else -1.0
    values = {
        trial.number: value
        for trial in trials
        if trial.state is TrialState.COMPLETE
        and (value := objective_value(objective, trial)) is not None
        and math.isfinite(value)
    }
    ranked = [trial for trial in trials if trial.number in values]
    return sorted(ranked, key=lambda trial: sign * values[trial.number])


def _eta(settings: Settings) -> float:
    return float(settings.get("eta", _ETA))


def _last(settings: Settings) -> int:
    """Returns the number of the first bracket, as Katib rounds it."""
    return int(math.log(settings["r_l"]) / math.log(_eta(settings)))


def _size(settings: Settings, bracket: int) -> int:
    """Returns the number of trials in the first stage of a bracket."""
    share = _eta(settings) ** bracket / (bracket + 1)
    return math.ceil((_last(settings) + 1) * share - _CLOSE)


def _promoted(settings: Settings, size: int, stage: int) -> int:
    """Returns the number of trials in a later stage of a bracket."""
    eta = _eta(settings)
    return math.ceil(math.ceil(size * eta ** (1 - stage) - _CLOSE) / eta - _CLOSE)


def _resource(settings: Settings, position: _Position) -> int:
    share = _eta(settings) ** (position.stage - position.bracket)
    return int(settings["r_l"] * share + _CLOSE)


def _faults(parts: Parts, settings: Settings) -> Iterator[Fault]:
    name = settings.get("resource_name")
    known = [parameter.name for _, parameter in parts.parameters]
    if name is not None and parts.complete and name not in known:
        assert parts.algorithm is not None
        for index, setting in enumerate(parts.algorithm.algorithm_settings):
            if setting.name == "resource_name":
                path = f"spec.algorithm.algorithmSettings[{index}].value"
                yield Fault(path, f'"{name}"', f"a parameter's name: {', '.join(sorted(known))}")


def _notes(spec: ExperimentSpec, settings: Settings) -> tuple[str, ...]:
    """Returns how many trials the settings make, and how far ``maxTrialCount`` lets them go."""
    last = _last(settings)
    first = _size(settings, last)
    stages = [
        _size(settings, bracket)
        if stage == 0
        else _promoted(settings, _size(settings, bracket), stage)
        for bracket in range(last, -1, -1)
        for stage in range(bracket + 1)
    ]
    most = spec.max_trial_count
    trials, brackets = counted(sum(stages), "trial"), counted(last + 1, "bracket")
    text = f"algorithm hyperband: {trials} in {brackets}, the first of {first}"
    if spec.parallelism < first:
        text += f", {spec.parallelism} at a time (Katib wants all of the first stage at once)"
    if most is not None and last and most <= first:
        text += f"; maxTrialCount {most} ends it before any trial is promoted to a second stage"
    elif most is not None and most < sum(stages):
        text += f"; maxTrialCount {most} ends it before that"
    return (text,)


HYPERBAND = Algorithm(
    {
        **RANDOM_STATE,
        "r_l": number(least=1),
        "resource_name": text("the name of the parameter that is the resource"),
        "eta": number(least=2),
    },
    required=("r_l", "resource_name"),
    propose=_hyperband,
    check=_faults,
    notes=_notes,
    repeats=True,
    over=_is_over,
    ending="all brackets of hyperband are done",
    lacks=frozenset(Ability),
)
