"""Proposes what to search for an option of a script: a range around its default, or its choices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from katibflow.scaffold.options import Kind, ScriptOption

__all__ = ["Proposal", "proposal_for"]

_RATE = re.compile(r"(^|_)(lr|rate|learning|decay|wd|alpha|eps|epsilon|tol|reg|lambda|l1|l2)(_|$)")
_SHARE = re.compile(
    r"(^|_)(dropout|drop|momentum|beta\d?|gamma|prob|p|ratio|fraction|share|subsample|colsample|"
    r"smoothing|tau)(_|$)"
)
_FIXED = re.compile(
    r"(^|_)(seed|random_state|epochs?|steps?|iters?|iterations|workers?|jobs|threads|device|gpus?|"
    r"port|rank|world_size|verbos\w*|interval|every|log\w*|patience|trials?|folds?|version|"
    r"debug|timeout|limit|samples)(_|$)"
)
"""Names of what a search leaves alone: how long and where to train, and what to print."""


@dataclass(frozen=True)
class Proposal:
    """What to search for an option.

    Attributes:
        type: Katib's type of the parameter.
        space: Its ``feasibleSpace``.
    """

    type: str
    space: Mapping[str, Any]


def proposal_for(option: ScriptOption) -> Proposal | None:
    """Returns what to search for an option, or None if it should keep its default."""
    if not option.flag or option.kind is Kind.SWITCH:
        return None
    if option.kind is Kind.FLAGS:
        return Proposal("categorical", {"list": [option.flag, option.off]})
    name = option.name.lower()
    if option.choices:
        texts = [str(choice) for choice in option.choices]
        is_discrete = all(isinstance(c, int | float) for c in option.choices)
        if len(texts) < 2 or _FIXED.search(name):
            return None
        return Proposal("discrete" if is_discrete else "categorical", {"list": texts})
    if option.kind is Kind.TEXT or _FIXED.search(name):
        return None
    if option.kind is Kind.FLOAT:
        return _floats(option, name)
    return _ints(option, name)


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _floats(option: ScriptOption, name: str) -> Proposal | None:
    default = _number(option.default)
    low, high = _number(option.low), _number(option.high)
    if low is None or high is None:
        if _SHARE.search(name) and (default is None or 0 <= default <= 1):
            wanted: tuple[float, float] | None
            wanted = (0.0, 0.5) if "drop" in name and (default or 0) <= 0.5 else (0.0, 0.99)
        elif default is None:
            wanted = (1e-5, 1e-1) if _RATE.search(name) else None
        elif default == 0:
            wanted = (1e-6, 1e-2) if _RATE.search(name) else (0.0, 1.0)
        else:
            wanted = (default / 10, default * 10) if default > 0 else (default * 2, 0.0)
        if wanted is None:
            return None
        low = wanted[0] if low is None else low
        high = wanted[1] if high is None else high
    if not low < high:
        return None
    is_wide = low > 0 and high / low >= 99
    space = {"min": _text(low), "max": _text(high)}
    return Proposal("double", {**space, **({"distribution": "logUniform"} if is_wide else {})})


def _ints(option: ScriptOption, name: str) -> Proposal | None:
    default = option.default if type(option.default) is int else None
    low, high = option.low, option.high
    if default is not None and default > 0 and "batch" in name and low is high is None:
        sizes = sorted({max(1, default // 4), max(1, default // 2), default, default * 2})
        return Proposal("discrete", {"list": [str(size) for size in sizes]})
    if low is None or high is None:
        if default is None:
            return None
        first = max(1, default // 2) if default > 0 else 2 * default
        low = first if low is None else low
        high = (default * 2 if default > 0 else max(1, -default)) if high is None else high
    if not low < high:
        return None
    return Proposal("int", {"min": str(int(low)), "max": str(int(high))})


def _text(value: float) -> str:
    return f"{value:.6g}"
