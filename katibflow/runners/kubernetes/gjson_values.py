"""Follows a GJSON path in a job object, which is plain data.

GJSON works on a document's text; Katib writes a job's with its keys in order, so a wildcard meets
them in that order here. A comparison with an object, a list or null never holds, whatever the
operator.

Source: GJSON's SYNTAX.md (tidwall/gjson); where that is silent, what gjson 1.18 does.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from katibflow.experiment.gjson_path import (
    Each,
    Key,
    Literal,
    Modifier,
    Multipath,
    Path,
    Query,
    Step,
)

__all__ = ["Absent", "value_at"]


class Absent(Enum):
    """What a path leads to that leads nowhere; null is a value.

    ``LOST`` is inside this module alone: the last step before a pipe was not reached. Then what is
    behind the pipe is not looked at, which else makes an array even of nothing.
    """

    ABSENT = "absent"
    LOST = "lost"


_ABSENT = Absent.ABSENT

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(inf|infinity)|nan")

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def value_at(path: Path, document: object) -> Any:
    """Returns the value to which a path leads in plain data, or ``Absent.ABSENT``."""
    value: Any = [document] if path.is_lines else document
    for steps in path.parts:
        value = _followed(steps, value)
        if value is Absent.LOST:
            return _ABSENT
    return value


def _followed(steps: Sequence[Step], value: Any) -> Any:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    makes_value = isinstance(step, Modifier | Multipath | Literal)
    if not makes_value and not isinstance(value, Mapping | list):
        return Absent.LOST
    match step:
        case Key():
            return _below(step, rest, value)
        case Each(rest=None):
            return len(value) if isinstance(value, list) else _ABSENT
        case Each(rest=Path() as inner):
            return _all_at(inner, value) if isinstance(value, list) else _ABSENT
        case Query():
            return _queried(step, value) if isinstance(value, list) else _ABSENT
        case Modifier():
            value = _modified(step, value)
        case Multipath():
            value = _joined(step, value)
        case Literal():
            value = step.value
    return _followed(rest, value)


def _below(key: Key, rest: Sequence[Step], value: Mapping[str, Any] | list[Any]) -> Any:
    nothing = Absent.LOST if rest else _ABSENT
    if isinstance(value, list):
        index = int(key.name) if key.name.isascii() and key.name.isdigit() else len(value)
        return _followed(rest, value[index]) if index < len(value) else nothing
    if not key.pattern:
        return _followed(rest, value[key.name]) if key.name in value else nothing
    for name in sorted(value):
        if _is_like(name, key.pattern):
            found = _followed(rest, value[name])
            if not isinstance(found, Absent):
                return found
            nothing = _ABSENT if found is _ABSENT else nothing
    return nothing


def _all_at(path: Path, items: Sequence[Any]) -> list[Any]:
    found = (value_at(path, item) for item in items)
    return [value for value in found if value is not _ABSENT]


def _queried(query: Query, items: Sequence[Any]) -> Any:
    matches = [item for item in items if _matches(query, item)]
    if query.every:
        return matches if query.rest is None else _all_at(query.rest, matches)
    if not matches:
        return _ABSENT
    return matches[0] if query.rest is None else value_at(query.rest, matches[0])


def _matches(query: Query, item: Any) -> bool:
    value = item
    if isinstance(item, Mapping | list):
        value = item.get("", _ABSENT) if isinstance(item, Mapping) else _ABSENT
        if query.path is not None:
            value = value_at(query.path, item)
    elif query.path is not None:
        return False
    wanted = query.value
    if query.value.startswith("~"):
        value, wanted = _truth(query.value, value), "true"
    if value is _ABSENT:
        return False
    return not query.operator or _compares(value, query.operator, wanted)


def _truth(name: str, value: Any) -> bool:
    """Returns whether a value is what ``~true``, ``~false``, ``~null`` or ``~*`` stands for."""
    if name == "~*":
        return value is not _ABSENT
    if name == "~null":
        return value is None or value is _ABSENT
    if isinstance(value, str):
        word = value.lower()
        return word in (("1", "t", "true") if name == "~true" else ("0", "f", "false"))
    if isinstance(value, bool | int | float):
        return bool(value) is (name == "~true")
    return name == "~false" and (value is None or value is _ABSENT)


def _compares(value: Any, sign: str, wanted: str) -> bool:
    if isinstance(value, bool):
        if sign in ("=", "!="):
            return (wanted == str(value).lower()) is (sign == "=")
        other = {"true": True, "false": False}.get(wanted)
        if sign in (">=", "<="):
            return value is (sign == ">=")
        return other is not None and sign in _COMPARE and _COMPARE[sign](value, other)
    if isinstance(value, str):
        if sign in ("%", "!%"):
            return _is_like(value, _pattern(wanted)) is (sign == "%")
        return _COMPARE[sign](value, wanted)
    if isinstance(value, int | float):
        return sign in _COMPARE and _COMPARE[sign](float(value), _number(wanted))
    return False


def _number(text: str) -> float:
    """Returns the number in a text, 0 if there is none, as GJSON does."""
    return float(text) if _NUMBER.fullmatch(text.lower()) else 0.0


def _pattern(text: str) -> tuple[tuple[str, bool], ...]:
    signs: list[tuple[str, bool]] = []
    is_escaped = False
    for sign in text:
        if sign == "\\" and not is_escaped:
            is_escaped = True
            continue
        signs.append((sign, sign in "*?" and not is_escaped))
        is_escaped = False
    return tuple(signs)


def _is_like(text: str, pattern: Sequence[tuple[str, bool]]) -> bool:
    """Returns whether a text fits a pattern; the time grows with the product of their lengths."""
    at = sign = 0
    star, retry = -1, 0
    while at < len(text):
        if sign < len(pattern) and pattern[sign] == ("*", True):
            star, retry = sign, at
            sign += 1
        elif sign < len(pattern) and (
            pattern[sign] == ("?", True) or pattern[sign] == (text[at], False)
        ):
            at, sign = at + 1, sign + 1
        elif star >= 0:
            retry += 1
            at, sign = retry, star + 1
        else:
            return False
    return all(each == ("*", True) for each in pattern[sign:])


def _joined(step: Multipath, value: Any) -> Any:
    found = [(name, value_at(path, value)) for name, path in step.items]
    there = [(name, each) for name, each in found if each is not _ABSENT]
    return dict(reversed(there)) if step.is_object else [each for _, each in there]


def _modified(step: Modifier, value: Any) -> Any:
    match step.name:
        case "keys" | "values" if value is _ABSENT:
            return []
        case "keys" if isinstance(value, Mapping):
            return sorted(value)
        case "keys":
            return [None] * (len(value) if isinstance(value, list) else 1)
        case "values" if isinstance(value, Mapping):
            return [value[key] for key in sorted(value)]
        case "values" if not isinstance(value, list):
            return [value]
        case "reverse" if isinstance(value, list):
            return value[::-1]
        case "flatten" if isinstance(value, list):
            return _flattened(value, deep=_option(step, "deep"))
        case "join" if isinstance(value, list):
            objects = [each for each in value if isinstance(each, Mapping)]
            ordered = reversed(objects) if _option(step, "preserve") else objects
            return {key: item for each in ordered for key, item in each.items()}
        case "group":
            return _grouped(value) if isinstance(value, Mapping) else _ABSENT
        case "tostr":
            return "" if value is _ABSENT else json.dumps(value, separators=(",", ":"))
        case "fromstr" if isinstance(value, str):
            return _parsed(value)
    return value


def _option(step: Modifier, name: str) -> bool:
    return isinstance(step.argument, Mapping) and step.argument.get(name) is True


def _flattened(items: Sequence[Any], *, deep: bool) -> list[Any]:
    flat: list[Any] = []
    for item in items:
        if isinstance(item, list):
            flat += _flattened(item, deep=True) if deep else item
        else:
            flat.append(item)
    return flat


def _grouped(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    columns = {key: value[key] for key in sorted(value) if isinstance(value[key], list)}
    longest = max(map(len, columns.values()), default=0)
    return [
        {key: items[index] for key, items in columns.items() if index < len(items)}
        for index in range(longest)
    ]


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
    except (RecursionError, ValueError):
        return _ABSENT
    return _ABSENT if isinstance(value, float) and not math.isfinite(value) else value
