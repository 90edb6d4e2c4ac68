"""Checks the arguments of ``Experiment.run`` before anything starts, each by its name."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from katibflow.errors import InputError
from katibflow.runners.backends import BACKENDS, all_options

__all__ = ["check_run_arguments"]


@dataclass(frozen=True)
class _Rule:
    """What an argument may be: a test, and the same in words."""

    fits: Callable[[Any], bool]
    allowed: str


def _is_seconds(value: object) -> bool:
    return _is_number(value) and 0 < float(value) < math.inf  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_maps(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(inside, str) and isinstance(here, str | os.PathLike)
        for inside, here in value.items()
    )


_TEXT = _Rule(lambda value: isinstance(value, str), "a text")
_SWITCH = _Rule(lambda value: isinstance(value, bool), "True or False")
_SECONDS = _Rule(_is_seconds, "seconds, a number above 0")

_RULES: Mapping[str, _Rule] = {
    "on": _Rule(lambda value: isinstance(value, str), ", ".join(BACKENDS)),
    "runs": _Rule(lambda value: isinstance(value, str | os.PathLike), "the path of a folder"),
    "maps": _Rule(_is_maps, 'paths by paths, as {"/opt/pytorch-mnist": "trial_image"}'),
    "namespace": _TEXT,
    "context": _TEXT,
    "resume": _TEXT,
    "trial_timeout": _SECONDS,
    "trial_start_timeout": _SECONDS,
    "drain": _SWITCH,
    "storage": _Rule(
        lambda value: isinstance(value, str) and bool(value),
        "a URL, as sqlite:///studies.db, or the path of a journal's file, as a text",
    ),
    "track": _TEXT,
    "warm_start": _Rule(
        lambda value: isinstance(value, str | os.PathLike),
        "the path of a run's folder, as runs/mnist, or of its study.jsonl",
    ),
    "fresh": _SWITCH,
    "keep": _SWITCH,
    "progress": _SWITCH,
}

_OPTIONAL = frozenset(_RULES) - {"on", "runs", "drain", "fresh", "keep", "progress"}
"""Arguments that may be None."""


def check_run_arguments(arguments: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Checks the types and values of the arguments, and the names of the others.

    Args:
        arguments: The named arguments.
        others: Further keywords, for backends that are registered elsewhere.

    Raises:
        InputError: Some are wrong; the error has a line for each.
    """
    wrong = [
        f"{name}: found {arguments[name]!r}; allowed: {_allowed(name, rule)}"
        for name, rule in _RULES.items()
        if name in arguments
        and not (arguments[name] is None and name in _OPTIONAL)
        and not rule.fits(arguments[name])
    ]
    known = dict.fromkeys([*_RULES, *all_options()])
    wrong += [
        f"{name}: found a keyword that run does not take; allowed: {_listed(known)}"
        for name in others
        if name not in known
    ]
    if wrong:
        raise InputError("\n".join(wrong))


def _allowed(name: str, rule: _Rule) -> str:
    return f"{rule.allowed}, or None" if name in _OPTIONAL else rule.allowed


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)
