"""DARTS: the trial itself searches, and is told where and how by three texts.

The training code trains one network that holds every operation at once, with a weight for each, and
reports the architecture that weighs most. So every trial is given the same.

Source: Katib's ``pkg/suggestion/v1beta1/nas/darts/service.py``; https://arxiv.org/abs/1806.09055.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import Experiment, ExperimentSpec
from katibflow.study.history import History
from katibflow.suggestion.algorithms.base import (
    Ability,
    Algorithm,
    SettingRule,
    Settings,
    Suggestion,
)
from katibflow.suggestion.algorithms.settings import RANDOM_STATE, number, or_none, whole
from katibflow.suggestion.space.operations import MARKS, SKIP, primitives_of, quoted_text
from katibflow.suggestion.space.search_space import Space

__all__ = ["DARTS"]

_DEFAULTS: Mapping[str, int | float] = {
    "num_epochs": 50,
    "w_lr": 0.025,
    "w_lr_min": 0.001,
    "w_momentum": 0.9,
    "w_weight_decay": 3e-4,
    "w_grad_clip": 5.0,
    "alpha_lr": 3e-4,
    "alpha_weight_decay": 1e-3,
    "batch_size": 128,
    "num_workers": 4,
    "init_channels": 16,
    "print_step": 50,
    "num_nodes": 4,
    "stem_multiplier": 3,
}
"""The settings that a trial is told, in their order; those of the file replace them as texts."""

_AT_LEAST_0: tuple[str, ...] = (
    "w_lr",
    "w_lr_min",
    "w_momentum",
    "w_weight_decay",
    "w_grad_clip",
    "alpha_lr",
    "alpha_weight_decay",
)

_RULES: Mapping[str, SettingRule] = {
    **RANDOM_STATE,
    **{name: whole(1) for name in _DEFAULTS if name not in _AT_LEAST_0},
    **{name: number(least=0) for name in _AT_LEAST_0},
    "batch_size": or_none(whole(1)),
    "num_workers": whole(0),
}


def _darts(space: Space, settings: Settings, history: History, attempt: int) -> Suggestion:
    return Suggestion(_texts(history.experiment))


def _texts(experiment: Experiment) -> Mapping[str, str]:
    spec = experiment.spec
    assert spec.nas_config is not None
    told: dict[str, Any] = dict(_DEFAULTS)
    for setting in spec.algorithm.algorithm_settings:
        told[setting.name] = None if setting.value == "None" else setting.value
    return {
        "algorithm-settings": quoted_text(told),
        "search-space": quoted_text(primitives_of(spec.nas_config)),
        "num-layers": str(spec.nas_config.graph_config.num_layers),
    }


def _faults(parts: Parts, settings: Settings) -> Iterator[Fault]:
    assert parts.algorithm is not None
    for index, setting in enumerate(parts.algorithm.algorithm_settings):
        for key, text in (("name", setting.name), ("value", setting.value)):
            if MARKS & {*text}:
                path = f"spec.algorithm.algorithmSettings[{index}].{key}"
                yield Fault(path, text, "a text without quotation marks and backslashes")


def _notes(spec: ExperimentSpec, settings: Settings) -> tuple[str, ...]:
    operations = spec.nas_config.operations if spec.nas_config is not None else ()
    idle = [
        f"{parameter.name} of {operation.operation_type}"
        for operation in operations
        for parameter in operation.parameters[0 if operation.operation_type == SKIP else 1 :]
    ]
    if not idle:
        return ()
    return (f"algorithm darts: passes over {', '.join(idle)}; only a first list counts, its sizes",)


DARTS = Algorithm(
    _RULES,
    propose=_darts,
    check=_faults,
    repeats=True,
    lacks=frozenset(Ability),
    unknown_settings="hands on to the trial",
    notes=_notes,
    longest=_texts,
)
