"""What a search algorithm is."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import Experiment
from katibflow.study.history import History
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

LARGEST_SEED = 2**32 - 1

EVERYTHING_TRIED = "every combination of the search space was tried"


@dataclass(frozen=True)
class Suggestion:
    """What one new trial is to try.

    Attributes:
        assignments: Parameter name to value, as Katib's strings.
        attributes: What the algorithm wants to find again in the history; plain JSON data.
    """

    assignments: Mapping[str, str]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SettingRule:
    """What one algorithm setting may be.

    Attributes:
        allowed: In words, for errors.
        read: The value of a setting's text; raises ValueError if it is not allowed.
    """

    allowed: str
    read: Callable[[str], Any]


Settings = Mapping[str, Any]
"""The values of the settings that are given, by name."""


class MakeSampler(Protocol):
    """Makes an Optuna sampler."""

    def __call__(self, settings: Settings, seed: int) -> BaseSampler:
        """A new sampler that does the same whenever it gets the same seed."""


class PointAt(Protocol):
    """A fixed sequence of points."""

    def __call__(self, space: Space, seed: int, index: int) -> dict[str, str]:
        """The assignments at an index from 0."""


class Propose(Protocol):
    """Makes suggestions from the history itself."""

    def __call__(
        self, space: Space, settings: Settings, history: History, attempt: int
    ) -> Suggestion | None:
        """The next suggestion; None when there is none before a running trial has ended.

        Args:
            space: The search space.
            settings: The values of the settings that are given.
            history: The experiment and its trials, running ones included.
            attempt: 0, then 1 and so on when what came before had been tried already.
        """


class Ability(StrEnum):
    """What an Experiment may ask of an algorithm beyond Katib's own, in words."""

    OBJECTIVES = "several objectives"
    CONDITIONS = "parameters with when"
    CONSTRAINTS = "constraints"


@dataclass(frozen=True)
class Algorithm:
    """One algorithm; exactly one of ``sampler``, ``sequence`` and ``propose`` is used.

    Attributes:
        settings: Rule by setting name.
        required: Names of the settings that must be given.
        sampler: An Optuna sampler, made anew for each suggestion.
        sequence: A fixed sequence of points, whose n-th serves trial n.
        propose: Its own way from the history to a suggestion.
        check: What is wrong with the Experiment for this algorithm, from what could be read of it
            and of the settings.
        packages: What it imports besides Optuna, as pip knows it, by the name of the module; with
            its version, unless several name it (`compiler.requirements.VERSIONS`).
        one_seed: Whether the sampler gets the same seed for all trials, not one for each.
        repeats: Whether a combination may come again on purpose; a finite space is not used up.
        over: Whether no suggestion is left, of an algorithm with ``repeats``.
        ending: Why no suggestion is left, in words.
        note: What differs from Katib, in a sentence; empty if nothing does.
        choose: The algorithm in whose stead this one stands, for an Experiment; None: itself.
        lacks: What it cannot search for.
    """

    settings: Mapping[str, SettingRule]
    required: tuple[str, ...] = ()
    sampler: MakeSampler | None = None
    sequence: PointAt | None = None
    propose: Propose | None = None
    check: Callable[[Parts, Settings], Iterator[Fault]] = field(
        default=lambda parts, settings: iter(())
    )
    packages: tuple[str, ...] = ()
    one_seed: bool = False
    repeats: bool = False
    over: Callable[[Settings, History], bool] = field(default=lambda settings, history: False)
    ending: str = EVERYTHING_TRIED
    note: str = ""
    choose: Callable[[Experiment], Algorithm] | None = None
    lacks: frozenset[Ability] = frozenset()


def derived_seed(source: str) -> int:
    """A seed, 0 to 2**32 - 1, that depends on all of ``source``."""
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:4]) & LARGEST_SEED


def chance(history: History, purpose: str) -> random.Random:
    """Random numbers for the next trial, the same for the same history and purpose."""
    return random.Random(f"{history.seed}/{history.next_number}/{purpose}")
