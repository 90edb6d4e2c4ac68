"""ENAS: a network draws architectures, each trial trains one, and the network learns from them.

What the controller has learnt is a function of the history: a trial that was suggested right after
new results stores their numbers. A run that goes on, or a step that begins with the history alone,
trains the controller again with the same results in the same order; between suggestions in one
process it is kept. So records hold no weights, and the same seed gives the same suggestions.

Source: Katib's ``pkg/suggestion/v1beta1/nas/enas`` for the settings and the texts that a trial is
given; https://arxiv.org/abs/1802.03268. Different on purpose: each architecture is rewarded with
its own trial's objective (Katib rewards whatever it draws next with the average of all trials, from
which nothing can be learnt), and trials that were stopped early count with their objective.
"""

from __future__ import annotations

import ast
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from katibflow.experiment.types import Experiment, ExperimentSpec, ObjectiveType
from katibflow.study.history import History
from katibflow.study.objectives import objective_value
from katibflow.suggestion.algorithms.base import (
    Ability,
    Algorithm,
    Settings,
    Suggestion,
    derived_seed,
)
from katibflow.suggestion.algorithms.settings import RANDOM_STATE, number, or_none, whole
from katibflow.suggestion.space.operations import Choice, choices_of, quoted_text
from katibflow.suggestion.space.search_space import Space

if TYPE_CHECKING:
    from katibflow.suggestion.algorithms.enas_controller import Architecture, Controller, Tried

__all__ = ["ENAS"]

_LEARNT_FROM = "enas:learnt_from"
"""The numbers of the trials that the controller learnt from right before a suggestion."""

_DEFAULTS: Mapping[str, int | float] = {
    "controller_hidden_size": 64,
    "controller_temperature": 5.0,
    "controller_tanh_const": 2.25,
    "controller_entropy_weight": 1e-5,
    "controller_baseline_decay": 0.999,
    "controller_learning_rate": 5e-5,
    "controller_skip_target": 0.4,
    "controller_skip_weight": 0.8,
    "controller_train_steps": 50,
}

_LOGGING = "controller_log_every_steps"


class _Search:
    """Suggests for one experiment; keeps the controller, with what it has learnt from."""

    def __init__(self) -> None:
        self._controller: Controller | None = None
        self._learnt: list[tuple[Tried, ...]] = []

    def __call__(
        self, space: Space, settings: Settings, history: History, attempt: int
    ) -> Suggestion:
        config = history.experiment.spec.nas_config
        assert config is not None
        choices = choices_of(config)
        tried = _tried(history, len(choices))
        lessons: list[Sequence[int]] = []
        for trial in history.trials:
            numbers = trial.attributes.get(_LEARNT_FROM)
            if isinstance(numbers, list):
                lessons.append(numbers)
        known = {number for numbers in lessons for number in numbers}
        news = [number for number in tried if number not in known]
        if news:
            lessons.append(news)
        learnt = [
            tuple(tried[number] for number in numbers if number in tried) for numbers in lessons
        ]
        controller = self._taught([each for each in learnt if each], settings, history, choices)
        dice = random.Random(f"{history.seed}/{history.next_number}/{attempt}/enas")
        architecture = controller.draw(dice)
        attributes = {_LEARNT_FROM: news} if news else {}
        return Suggestion(_texts(history.experiment, choices, architecture), attributes)

    def _taught(
        self,
        lessons: Sequence[tuple[Tried, ...]],
        settings: Settings,
        history: History,
        choices: Sequence[Choice],
    ) -> Controller:
        """Returns the controller after lessons, the one that is kept if it has had the first."""
        count = len(self._learnt)
        if self._controller is None or self._learnt != list(lessons[:count]):
            self._controller = _new_controller({**_DEFAULTS, **settings}, history, choices)
            self._learnt = []
        steps = settings.get("controller_train_steps", _DEFAULTS["controller_train_steps"])
        for lesson in lessons[len(self._learnt) :]:
            self._controller.learn(lesson, steps)
            self._learnt.append(lesson)
        return self._controller


def _new_controller(settings: Settings, history: History, choices: Sequence[Choice]) -> Controller:
    from katibflow.suggestion.algorithms.enas_controller import Controller, Sizes, Tuning

    config = history.experiment.spec.nas_config
    assert config is not None
    sizes = Sizes(
        layers=config.graph_config.num_layers or 1,
        operations=len(choices),
        hidden=settings["controller_hidden_size"],
    )
    tuning = Tuning(
        temperature=settings["controller_temperature"],
        tanh_constant=settings["controller_tanh_const"],
        entropy_weight=settings["controller_entropy_weight"],
        baseline_decay=settings["controller_baseline_decay"],
        learning_rate=settings["controller_learning_rate"],
        skip_target=settings["controller_skip_target"],
        skip_weight=settings["controller_skip_weight"],
    )
    return Controller(sizes, tuning, derived_seed(f"{history.seed}/enas"))


def _tried(history: History, operations: int) -> dict[int, Tried]:
    """Returns trial number to its architecture and reward, of the trials that have both."""
    from katibflow.suggestion.algorithms.enas_controller import Tried

    objective = history.experiment.spec.objective
    config = history.experiment.spec.nas_config
    layers = (config.graph_config.num_layers if config is not None else None) or 1
    sign = -1.0 if objective.type is ObjectiveType.MINIMIZE else 1.0
    found: dict[int, Tried] = {}
    for trial in history.trials:
        value = objective_value(objective, trial)
        architecture = _read(trial.assignments.get("architecture", ""), layers, operations)
        if value is not None and math.isfinite(value) and architecture is not None:
            found[trial.number] = Tried(architecture, sign * value)
    return found


def _read(text: str, layers: int, operations: int) -> Architecture | None:
    """Returns the architecture of a text, or None if there is none of this search in it."""
    try:
        found = ast.literal_eval(text)
        architecture = tuple(tuple(int(each) for each in layer) for layer in found)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    fits = len(architecture) == layers and all(
        len(layer) == index + 1 and 0 <= layer[0] < operations and {*layer[1:]} <= {0, 1}
        for index, layer in enumerate(architecture)
    )
    return architecture if fits else None


def _texts(
    experiment: Experiment, choices: Sequence[Choice], architecture: Architecture
) -> dict[str, str]:
    config = experiment.spec.nas_config
    assert config is not None
    graph = config.graph_config
    network: dict[str, Any] = {
        "num_layers": graph.num_layers,
        "input_sizes": graph.input_sizes,
        "output_sizes": graph.output_sizes,
        "embedding": {layer[0]: choices[layer[0]].data() for layer in architecture},
    }
    return {"architecture": json.dumps(architecture), "nn_config": quoted_text(network)}


def _longest(experiment: Experiment) -> Mapping[str, str]:
    config = experiment.spec.nas_config
    assert config is not None
    choices = choices_of(config)
    longest = sorted(choices, key=lambda each: -len(str(each.data())))
    layers = range(config.graph_config.num_layers or 1)
    architecture = tuple(
        (longest[layer % len(longest)].index, *(0 for _ in range(layer))) for layer in layers
    )
    return _texts(experiment, choices, architecture)


def _notes(spec: ExperimentSpec, settings: Settings) -> tuple[str, ...]:
    return (f"algorithm enas: {_LOGGING} is checked, nothing is logged",) * (_LOGGING in settings)


_OPTIONAL = or_none(number(above=0))
_SHARE = number(above=0, most=1)

ENAS = Algorithm(
    {
        **RANDOM_STATE,
        "controller_hidden_size": whole(1),
        "controller_temperature": _OPTIONAL,
        "controller_tanh_const": _OPTIONAL,
        "controller_entropy_weight": _OPTIONAL,
        "controller_baseline_decay": _SHARE,
        "controller_learning_rate": _SHARE,
        "controller_skip_target": _SHARE,
        "controller_skip_weight": _OPTIONAL,
        "controller_train_steps": whole(1),
        _LOGGING: whole(1),
    },
    remembers=_Search,
    repeats=True,
    packages=("torch",),
    extra="nas",
    note=(
        "enas rewards each architecture with its own trial's objective; Katib rewards what it "
        "draws next with the average of all trials"
    ),
    lacks=frozenset(Ability),
    notes=_notes,
    longest=_longest,
)
