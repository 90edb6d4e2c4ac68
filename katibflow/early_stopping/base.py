"""Defines `Stopping`, which every early stopping rule is registered as."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from katibflow.experiment.types import ExperimentSpec
from katibflow.study.history import Point, Trial
from katibflow.suggestion.algorithms.base import SettingRule, Settings

__all__ = ["MakeRule", "Memory", "Rule", "Stopping", "remembered"]

Rule = Callable[[Point], str | None]
"""Takes a trial's reports of the objective one by one; returns the reason to stop it, or None."""

MakeRule = Callable[[ExperimentSpec, Settings, Iterable[Trial]], Rule | None]
"""Makes the rule for a trial that is about to start, from the other trials so far."""


class Memory(Protocol):
    """What a rule knows of all trials so far, brought up to date by each change of one."""

    def after(self, before: Trial | None, trial: Trial) -> Memory:
        """Returns the memory once a trial has taken the place of the one before it, if any."""

    def rule(self) -> Rule | None:
        """Returns the rule for a trial that is about to start, as `Stopping.make` does."""


def remembered(memory: Memory, trials: Iterable[Trial]) -> Memory:
    """Returns a memory after trials that it has not known."""
    for trial in trials:
        memory = memory.after(None, trial)
    return memory


@dataclass(frozen=True)
class Stopping:
    """Describes one way to stop trials early.

    Attributes:
        settings: Setting name to the rule for its value.
        make: Makes the rule for one trial.
        required: Names of the settings that must be given.
        check: Returns the faults of the settings in combination, in words.
        packages: Further packages that the rule imports, besides Optuna, as
            ``katibflow/steps/pins.json`` names them.
        is_katibs: Whether Katib has the rule, too.
        remember: Returns what the rule knows before the first trial, for rules that need not see
            all trials again for each new one.
    """

    settings: Mapping[str, SettingRule]
    make: MakeRule
    required: tuple[str, ...] = ()
    check: Callable[[Settings], Iterator[str]] = field(default=lambda settings: iter(()))
    packages: tuple[str, ...] = ()
    is_katibs: bool = True
    remember: Callable[[ExperimentSpec, Settings], Memory] | None = None
