"""Experiments, histories and objectives for the tests of the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from katibflow.experiment.types import Experiment, Parameter
from katibflow.study.history import History, Observation, Point, Trial, TrialState
from katibflow.suggestion.suggester import Suggester, Suggestion
from tests.samples import changed

MIXED: list[dict[str, Any]] = [
    {"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "1e-4", "max": "0.1"}},
    {"name": "layers", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}},
    {
        "name": "dropout",
        "parameterType": "double",
        "feasibleSpace": {"min": "0", "max": "0.5", "step": "0.05"},
    },
    {"name": "batch", "parameterType": "discrete", "feasibleSpace": {"list": ["16", "32", "64"]}},
    {"name": "act", "parameterType": "categorical", "feasibleSpace": {"list": ["relu", "tanh"]}},
]
"""Five parameters, one of each kind."""

SMALL: list[dict[str, Any]] = [
    {"name": "a", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "3"}},
    {
        "name": "b",
        "parameterType": "double",
        "feasibleSpace": {"min": "0.1", "max": "0.3", "step": "0.1"},
    },
]
"""Nine combinations."""


def double(low: str, high: str, **more: str) -> dict[str, Any]:
    """A feasibleSpace that is a range."""
    return {"min": low, "max": high, **more}


def parameter(kind: str, space: Mapping[str, Any], name: str = "x") -> Parameter:
    """One parameter."""
    return Parameter.model_validate(
        {"name": name, "parameterType": kind, "feasibleSpace": dict(space)}
    )


def experiment(
    algorithm: str,
    parameters: Sequence[Mapping[str, Any]] = MIXED,
    settings: Mapping[str, str] | None = None,
    **changes: Any,
) -> Experiment:
    """An experiment of some algorithm; ``changes`` are keys of spec."""
    pairs = [{"name": name, "value": value} for name, value in (settings or {}).items()]
    return Experiment.model_validate(
        changed(
            {
                "spec.algorithm": {"algorithmName": algorithm, "algorithmSettings": pairs},
                "spec.parameters": list(parameters),
                **{f"spec.{key}": value for key, value in changes.items()},
            }
        )
    )


def history(of: Experiment, seed: int = 1) -> History:
    """A history without trials."""
    return History(of, "0" * 8, seed)


def ended(
    number: int,
    suggestion: Suggestion,
    value: float | None,
    state: TrialState = TrialState.COMPLETE,
    series: Sequence[float] = (),
) -> Trial:
    """A trial of a suggestion that ended, with its objective and the reports before."""
    return Trial(
        number=number,
        state=state,
        assignments=suggestion.assignments,
        observations={} if value is None else {"loss": Observation(value, value, value)},
        intermediate=tuple(Point(step, report) for step, report in enumerate(series)),
        attributes=suggestion.attributes,
    )


def running(number: int, suggestion: Suggestion) -> Trial:
    """A trial of a suggestion that runs."""
    return Trial(
        number, TrialState.RUNNING, suggestion.assignments, attributes=suggestion.attributes
    )


Objective = Callable[[Mapping[str, str]], float]


def mixed_loss(assignments: Mapping[str, str]) -> float:
    """Smallest at lr 0.05, 4 layers, dropout 0.2, batch 32, tanh."""
    return (
        abs(float(assignments["lr"]) - 0.05) * 10
        + abs(int(assignments["layers"]) - 4)
        + abs(float(assignments["dropout"]) - 0.2)
        + (assignments["batch"] != "32")
        + (assignments["act"] != "tanh")
    )


def searched(
    of: Experiment, count: int, objective: Objective = mixed_loss, *, seed: int = 1, batch: int = 1
) -> History:
    """A history of ``count`` trials, each batch suggested together and then ended."""
    made = history(of, seed)
    suggester = Suggester(of)
    while len(made.trials) < count:
        suggestions = suggester.suggest(made, min(batch, count - len(made.trials)))
        if not suggestions:
            break
        made = made.with_trials(
            ended(made.next_number + index, suggestion, objective(suggestion.assignments))
            for index, suggestion in enumerate(suggestions)
        )
    return made
