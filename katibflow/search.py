"""Describes the search space of a Python function, with the names of Katib's SDK.

::

    from katibflow import search

    parameters = {
        "lr": search.double(min=0.01, max=0.1, distribution="logUniform"),
        "layers": search.int(min=1, max=4),
        "optimizer": search.categorical(["sgd", "adam"]),
    }
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from katibflow.errors import InputError

__all__ = ["Space", "categorical", "discrete", "double", "int"]

_DISTRIBUTIONS = ("uniform", "logUniform", "normal", "logNormal")

Choice = str | builtins.int | float | bool


@dataclass(frozen=True)
class Space:
    """The values that one parameter may have.

    Attributes:
        type: Katib's ``parameterType``.
        feasible: Katib's ``feasibleSpace``.
        choices: The text of each listed item to the item itself; empty for ranges.
    """

    type: str
    feasible: Mapping[str, Any]
    choices: Mapping[str, Choice] = field(default_factory=dict)


def double(
    min: float, max: float, step: float | None = None, distribution: str = "uniform"
) -> Space:
    """Returns the space of a real number.

    Args:
        min: The least value.
        max: The greatest value.
        step: The distance between two values, from ``min`` on; by default any number is a value.
        distribution: ``uniform`` (the default), ``logUniform``, ``normal`` or ``logNormal``.

    Raises:
        InputError: A bound is no number, or the range is empty; or the distribution is none of
            these.
    """
    return Space("double", _range("double", min, max, step, distribution))


def int(
    min: builtins.int, max: builtins.int, step: builtins.int = 1, distribution: str = "uniform"
) -> Space:
    """Returns the space of a whole number from ``min`` to ``max``, both included.

    Args:
        min: The least value.
        max: The greatest value.
        step: The distance between two values, from ``min`` on; 1 by default.
        distribution: ``uniform`` (the default), ``logUniform``, ``normal`` or ``logNormal``.

    Raises:
        InputError: A bound is no number, or the range is empty; or the distribution is none of
            these.
    """
    return Space("int", _range("int", min, max, step, distribution))


def categorical(list: Sequence[Choice]) -> Space:
    """Returns the space of one of several texts, numbers or booleans, without an order.

    Raises:
        InputError: This is no list; a text alone would be a list of its letters.
    """
    return _listed("categorical", list)


def discrete(list: Sequence[float]) -> Space:
    """Returns the space of one of several numbers.

    Raises:
        InputError: This is no list.
    """
    return _listed("discrete", list)


def _range(
    kind: str, min: float, max: float, step: float | None, distribution: str
) -> dict[str, Any]:
    least, most = _number(kind, "min", min), _number(kind, "max", max)
    if least > most:
        raise InputError(f"search.{kind}: max: found {max}; allowed: at least min, {min}")
    if step is not None and _number(kind, "step", step) <= 0:
        raise InputError(f"search.{kind}: step: found {step}; allowed: a number above 0")
    if distribution not in _DISTRIBUTIONS:
        raise InputError(
            f"search.{kind}: distribution: found {distribution!r}; allowed: "
            f"{', '.join(_DISTRIBUTIONS)}"
        )
    # `str`, as numbers of NumPy name their type in `repr`.
    texts: dict[str, Any] = {"min": str(min), "max": str(max)}
    if step is not None:
        texts["step"] = str(step)
    return {**texts, "distribution": distribution}


def _number(kind: str, name: str, value: object) -> float:
    whole = kind == "int" and name != "step"
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (whole and not number.is_integer()):
        allowed = "a whole number" if whole else "a finite number"
        raise InputError(f"search.{kind}: {name}: found {value!r}; allowed: {allowed}")
    return number


def _listed(kind: str, values: Iterable[Choice]) -> Space:
    # A set has another order in each process, and so would be another search space.
    unordered = isinstance(values, str | bytes | Mapping | Set)
    if unordered or not isinstance(values, Iterable):
        raise InputError(
            f"search.{kind}: list: found {values!r}; allowed: a list of values, as [1, 2]"
        )
    items = [*values]
    texts = [str(item) for item in items]
    return Space(kind, {"list": texts}, dict(zip(texts, items, strict=True)))
