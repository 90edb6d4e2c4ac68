"""Checks the arguments of ``Experiment.run`` before anything starts, each by its name."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from katibflow.errors import InputError
from katibflow.experiment.spelling import did_you_mean
from katibflow.runners.backends import BACKENDS, all_options

__all__ = ["check_run_arguments"]

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_count(value: object) -> bool:
    return _is_whole(value) and value != 0


def _is_env(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and _ENV_NAME.fullmatch(name) and isinstance(text, str)
        for name, text in value.items()
    )


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _is_paths(value: object) -> bool:
    several = value if isinstance(value, list | tuple) else [value]
    return all(map(_is_path, several))


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
        "the path of a run's folder, as runs/mnist, or of its study.jsonl; its name, or its id",
    ),
    "fresh": _SWITCH,
    "keep": _SWITCH,
    "max_trial_count": _Rule(_is_count, "a whole number from 1"),
    "parallel_trial_count": _Rule(_is_count, "a whole number from 1"),
    "max_failed_trial_count": _Rule(_is_whole, "a whole number from 0"),
    "goal": _Rule(_is_number, "a number"),
    "algorithm_name": _TEXT,
    "seed": _Rule(_is_whole, "a whole number from 0"),
    "env": _Rule(_is_env, 'texts by names, as {"OMP_NUM_THREADS": "2"}'),
    "env_file": _Rule(_is_paths, "the path of a file, or a list of paths"),
    "python": _Rule(_is_path, "the path of an interpreter or of a virtual environment"),
    "gpus": _Rule(_is_whole, "a whole number from 0"),
    "clean_env": _SWITCH,
    "progress": _SWITCH,
}

_OPTIONAL = frozenset(_RULES) - {"on", "runs", "clean_env", "drain", "fresh", "keep", "progress"}
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
        f"{name}: found a keyword that run does not take{did_you_mean(name, known)}; allowed: "
        f"{_listed(known)}"
        for name in others
        if name not in known
    ]
    if wrong:
        raise InputError("\n".join(wrong))


def _allowed(name: str, rule: _Rule) -> str:
    return f"{rule.allowed}, or None" if name in _OPTIONAL else rule.allowed


def _listed(names: Collection[str]) -> str:
    return ", ".join(names)
