"""What an early stopping rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from katibflow.experiment.types import ExperimentSpec
from katibflow.study.history import Point, Trial
from katibflow.suggestion.algorithms.base import SettingRule, Settings

__all__ = ["MakeRule", "Rule", "Stopping"]

Rule = Callable[[Point], str | None]
"""Takes a trial's reports of the objective one by one; why to stop it, or None to let it go on."""

MakeRule = Callable[[ExperimentSpec, Settings, Iterable[Trial]], Rule | None]
"""Makes the rule for a trial that is about to start, from the other trials so far."""


@dataclass(frozen=True)
class Stopping:
    """One way to stop trials early.

    Attributes:
        settings: Rule by setting name.
        make: Makes the rule for one trial.
        required: Names of the settings that must be given.
        check: What is wrong with the settings together, in words.
        packages: What it imports besides Optuna, as pip knows it.
    """

    settings: Mapping[str, SettingRule]
    make: MakeRule
    required: tuple[str, ...] = ()
    check: Callable[[Settings], Iterator[str]] = field(default=lambda settings: iter(()))
    packages: tuple[str, ...] = ()
