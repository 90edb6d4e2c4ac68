"""The search space of a Python function, in the words of Katib's SDK.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Space", "categorical", "discrete", "double", "int"]

Choice = str | builtins.int | float | bool


@dataclass(frozen=True)
class Space:
    """What one parameter may be.

    Attributes:
        type: Katib's ``parameterType``.
        feasible: Katib's ``feasibleSpace``.
        choices: The text of an item to the item itself, for lists.
    """

    type: str
    feasible: Mapping[str, Any]
    choices: Mapping[str, Choice] = field(default_factory=dict)


def double(
    min: float, max: float, step: float | None = None, distribution: str = "uniform"
) -> Space:
    """A real number.

    Args:
        min: The least value.
        max: The greatest value.
        step: Distance between values, from ``min`` on; None for any number.
        distribution: ``uniform``, ``logUniform``, ``normal`` or ``logNormal``.
    """
    return Space("double", _range(min, max, step, distribution))


def int(
    min: builtins.int, max: builtins.int, step: builtins.int = 1, distribution: str = "uniform"
) -> Space:
    """A whole number, ``min`` and ``max`` included; the arguments are those of ``double``."""
    return Space("int", _range(min, max, step, distribution))


def categorical(list: Sequence[Choice]) -> Space:
    """One of several texts, numbers or booleans, without an order."""
    return _listed("categorical", list)


def discrete(list: Sequence[float]) -> Space:
    """One of several numbers."""
    return _listed("discrete", list)


def _range(min: float, max: float, step: float | None, distribution: str) -> dict[str, Any]:
    texts: dict[str, Any] = {"min": repr(min), "max": repr(max)}
    if step is not None:
        texts["step"] = repr(step)
    return {**texts, "distribution": distribution}


def _listed(kind: str, items: Sequence[Choice]) -> Space:
    texts = [str(item) for item in items]
    return Space(kind, {"list": texts}, dict(zip(texts, items, strict=True)))
