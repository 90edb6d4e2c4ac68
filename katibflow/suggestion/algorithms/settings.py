"""Rules for the values of algorithm settings: whole numbers, numbers, words, texts."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable

from katibflow.suggestion.algorithms.base import LARGEST_SEED, SettingRule

__all__ = ["RANDOM_STATE", "number", "one_of", "or_none", "text", "whole"]

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


def whole(low: int, high: int | None = None) -> SettingRule:
    """Returns a rule for whole numbers from ``low`` to ``high``."""
    allowed = f"a whole number of at least {low}" if high is None else f"{low} to {high}"

    def read(text: str) -> int:
        if not _WHOLE.fullmatch(text):
            raise ValueError(text)
        value = int(text)
        if value < low or (high is not None and value > high):
            raise ValueError(text)
        return value

    return SettingRule(allowed, read)


def number(
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> SettingRule:
    """Returns a rule for finite numbers within bounds, each of them optional."""
    limits: list[tuple[str, float | None, Callable[[float, float], bool]]] = [
        ("of at least", least, operator.ge),
        ("above", above, operator.gt),
        ("at most", most, operator.le),
        ("below", below, operator.lt),
    ]
    given = [(words, limit, holds) for words, limit, holds in limits if limit is not None]

    def read(text: str) -> float:
        value = float(text)
        if not math.isfinite(value) or not all(holds(value, limit) for _, limit, holds in given):
            raise ValueError(text)
        return value

    words = ", ".join(f"{words} {limit:g}" for words, limit, _ in given) or "that is finite"
    return SettingRule(f"a number {words}", read)


def one_of(*words: str) -> SettingRule:
    """Returns a rule for a choice of words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return SettingRule(", ".join(words), read)


def or_none(rule: SettingRule) -> SettingRule:
    """Returns a rule that also allows the word None, as Katib spells the absence of a value."""
    return SettingRule(
        f"{rule.allowed}, or None", lambda text: None if text == "None" else rule.read(text)
    )


def text(allowed: str) -> SettingRule:
    """Returns a rule for any text that is not blank."""

    def read(value: str) -> str:
        if not value.strip():
            raise ValueError(value)
        return value

    return SettingRule(allowed, read)


RANDOM_STATE = {"random_state": whole(0, LARGEST_SEED)}
"""The setting for the seed, which every algorithm has."""
