"""Defines `Algorithm`, the form in which algorithms are registered, and the types of its parts."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import Experiment, ExperimentSpec
from katibflow.study.history import SEEDS, History
from katibflow.suggestion.space.search_space import Space

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

__all__ = [
    "EVERYTHING_TRIED",
    "LARGEST_SEED",
    "Ability",
    "Algorithm",
    "MakeSampler",
    "PointAt",
    "Propose",
    "SettingRule",
    "Settings",
    "Suggestion",
    "chance",
    "derived_seed",
]

LARGEST_SEED = SEEDS - 1

EVERYTHING_TRIED = "every combination of the search space was tried"


@dataclass(frozen=True)
class Suggestion:
    """The values that one new trial tries.

    Attributes:
        assignments: Parameter name to value, as Katib's strings.
        attributes: JSON data that the algorithm reads again from the history later.
    """

    assignments: Mapping[str, str]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SettingRule:
    """The rule for the value of one algorithm setting.

    Attributes:
        allowed: The allowed values in words, for errors.
        read: Returns the value of a setting's text; raises ValueError if it is not allowed.
    """

    allowed: str
    read: Callable[[str], Any]


Settings = Mapping[str, Any]
"""The values of the given settings, by name."""


class MakeSampler(Protocol):
    """Makes an Optuna sampler."""

    def __call__(self, settings: Settings, seed: int) -> BaseSampler:
        """Returns a new sampler; equal settings and seeds give samplers that do the same."""


class PointAt(Protocol):
    """Gives the points of a fixed sequence."""

    def __call__(self, space: Space, seed: int, index: int) -> dict[str, str]:
        """Returns the assignments at an index from 0."""


class Propose(Protocol):
    """Makes suggestions from the history directly, without an Optuna sampler."""

    def __call__(
        self, space: Space, settings: Settings, history: History, attempt: int
    ) -> Suggestion | None:
        """Returns the next suggestion, or None if running trials must end first.

        Args:
            space: The search space.
            settings: The values of the settings that are given.
            history: The experiment and its trials, running ones included.
            attempt: 0 at first, and one more after each suggestion that had been tried already.
        """


class Ability(StrEnum):
    """Features beyond Katib's own that an Experiment may ask of an algorithm, in words."""

    OBJECTIVES = "several objectives"
    CONDITIONS = "parameters with when"
    CONSTRAINTS = "constraints"
    ENQUEUED = "trials that come first"
    WARM_START = "a warm start"


@dataclass(frozen=True)
class Algorithm:
    """Describes one algorithm by one of ``sampler``, ``sequence``, ``propose``, ``remembers``.

    Attributes:
        settings: Setting name to the rule for its value.
        required: Names of the settings that must be given.
        sampler: Makes an Optuna sampler, a new one for each suggestion.
        sequence: Gives a fixed sequence of points; trial n takes the n-th.
        propose: Makes a suggestion from the history.
        remembers: Makes a `Propose` for one experiment. It may keep between calls what it has
            computed, but its suggestions are those of a new one.
        check: Yields the faults of an Experiment for this algorithm, given the readable parts of
            the Experiment and of the settings.
        packages: Packages besides Optuna that the algorithm imports, as
            ``katibflow/steps/pins.json`` names them.
        extra: The extra of katibflow with these packages, for errors; None for that of the package.
        one_seed: Whether the sampler gets the same seed for all trials, not one for each.
        blind: Whether the sampler is a `ReseededRandomSampler`, which looks at no trial and draws
            each parameter by itself.
        repeats: Whether combinations may repeat, so that a finite space is never used up.
        over: Returns whether no suggestion is left; for algorithms with ``repeats``.
        ending: The reason, in words, when no suggestion is left.
        note: A sentence on how it differs from Katib's algorithm; empty if it does not.
        choose: Returns the algorithm to use for an Experiment; None: this one.
        lacks: Features that the algorithm does not have.
        is_katibs: Whether Katib has the algorithm, too.
        unknown_settings: What it does with unknown settings, in words, where they are no faults in
            Katib's service of it; empty where they are.
        notes: Returns sentences on what the settings of an Experiment without faults amount to.
        longest: Returns assignments as long as any that it suggests, if not parameters' values.
    """

    settings: Mapping[str, SettingRule]
    required: tuple[str, ...] = ()
    sampler: MakeSampler | None = None
    sequence: PointAt | None = None
    propose: Propose | None = None
    remembers: Callable[[], Propose] | None = None
    check: Callable[[Parts, Settings], Iterator[Fault]] = field(
        default=lambda parts, settings: iter(())
    )
    packages: tuple[str, ...] = ()
    extra: str | None = None
    one_seed: bool = False
    blind: bool = False
    repeats: bool = False
    over: Callable[[Settings, History], bool] = field(default=lambda settings, history: False)
    ending: str = EVERYTHING_TRIED
    note: str = ""
    choose: Callable[[Experiment], Algorithm] | None = None
    lacks: frozenset[Ability] = frozenset()
    is_katibs: bool = True
    unknown_settings: str = ""
    notes: Callable[[ExperimentSpec, Settings], tuple[str, ...]] = field(
        default=lambda spec, settings: ()
    )
    longest: Callable[[Experiment], Mapping[str, str]] | None = None


def derived_seed(source: str) -> int:
    """Returns a seed, 0 to 2**32 - 1, that depends on all of ``source``."""
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:4]) & LARGEST_SEED


def chance(history: History, purpose: str) -> random.Random:
    """Returns random numbers for the next trial, the same for the same history and purpose."""
    return random.Random(f"{history.seed}/{history.next_number}/{purpose}")
