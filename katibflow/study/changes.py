"""Compares an Experiment with the one that a run's trials ran with: what differs, by field path.

The counts of trials, ``resumePolicy``, ``retain`` and the time limits change freely, and so does
what only describes the Experiment. A difference of the search space or of the objective makes the
trials incomparable, and `study.resume` refuses them. Any other difference is a `Change`: the trials
count only if the user says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from katibflow.experiment.bootstrap import BOOTSTRAPS
from katibflow.experiment.types import Experiment
from katibflow.study.objectives import further_goals

__all__ = [
    "ABSENT",
    "Change",
    "changed_place",
    "changed_programs",
    "changes",
    "changes_text",
    "compared",
    "shortened",
]

_FREE = ("parallelTrialCount", "maxTrialCount", "maxFailedTrialCount", "resumePolicy", "parameters")
"""Fields of ``spec`` that change freely, and the parameters, which `study.resume` compares."""

_LONG = 200
"""Characters. `shortened` has only the hash of a longer text."""

_SHOWN = 60
"""Characters of a value in the text of a change."""

_LISTED = 8
"""Changes in the text of an error."""

_HASHED = "sha256:"
ABSENT = "nothing"
"""The text of a value that is not there."""


@dataclass(frozen=True)
class Change:
    """One difference.

    Attributes:
        path: The field's path, the name of a program's file, or an option.
        found: The value now, as a short text.
        then: The value that the trials on record had, as a short text.
    """

    path: str
    found: str
    then: str

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}; the trials on record had {self.then}"


def compared(experiment: Experiment) -> dict[str, Any]:
    """Returns the fields that `changes` compares, as plain data with all defaults spelled out."""
    spec = experiment.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    objective = experiment.spec.objective
    data = {key: value for key, value in spec.items() if key not in _FREE}
    data["objective"] = {
        "goal": objective.goal,
        "additionalMetricNames": sorted(objective.additional_metric_names),
        "goals": dict(further_goals(objective)),
    }
    for key in ("algorithm", "earlyStopping"):
        if key in data:
            pairs = data[key].pop("algorithmSettings")
            data[key]["algorithmSettings"] = {each["name"]: each["value"] for each in pairs}
    data["trialTemplate"].pop("retain", None)
    return data


def shortened(data: Any) -> Any:
    """Returns the result of `compared` with a hash in place of each long text."""
    if isinstance(data, Mapping):
        return {key: shortened(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [shortened(value) for value in data]
    return _hashed(data) if isinstance(data, str) and len(data) > _LONG else data


def changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> tuple[Change, ...]:
    """Returns the differences between two results of `compared`.

    Args:
        new: That of the Experiment to run.
        old: That of the trials' Experiment, or the result of `shortened` for it.
    """
    return tuple(_changes("spec", new, old))


def changed_programs(new: Mapping[str, str], old: Mapping[str, str]) -> tuple[Change, ...]:
    """Returns a change for each file of the trials' programs that both have and that differs.

    Args:
        new: Name of a file to its hash, now.
        old: The same of the trials on record.
    """
    return tuple(
        Change(name, "another content", "another version of this file")
        for name, mark in new.items()
        if old.get(name, mark) != mark
    )


def changed_place(new: Mapping[str, str], old: Mapping[str, str]) -> tuple[Change, ...]:
    """Returns a change for each option that says where trials run, and that says otherwise now.

    Args:
        new: An option to its value, now.
        old: The same of the trials on record; empty if it is not on record.
    """
    return tuple(
        Change(name, new.get(name, ABSENT), old.get(name, ABSENT))
        for name in ({**old, **new} if old and new else ())
        if new.get(name) != old.get(name)
    )


def changes_text(found: Collection[Change]) -> str:
    """Returns a line for each of the first changes, and the number of the others."""
    lines = [f"\n  {change}" for change in list(found)[:_LISTED]]
    more = len(found) - len(lines)
    return "".join([*lines, f"\n  and {more} more" if more else ""])


def _changes(path: str, new: Any, old: Any) -> Iterator[Change]:
    if isinstance(new, Mapping) and isinstance(old, Mapping):
        for key in {**old, **new}:
            yield from _changes(f"{path}.{key}", new.get(key), old.get(key))
    elif _is_list(new) and _is_list(old):
        for index, (now, then) in enumerate(zip_longest(new, old)):
            yield from _changes(f"{path}[{index}]", now, then)
    elif not _are_same(new, old):
        yield Change(path, *_texts(new, old))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_empty(value: object) -> bool:
    return value is None or value in ("", [], {})


def _are_same(new: Any, old: Any) -> bool:
    if new == old or (_is_empty(new) and _is_empty(old)):
        return True
    if isinstance(new, str) and isinstance(old, str):
        known = {*BOOTSTRAPS, *map(_hashed, BOOTSTRAPS)}
        return (old.startswith(_HASHED) and old == _hashed(new)) or {new, old} <= known
    return False


def _texts(new: Any, old: Any) -> tuple[str, str]:
    """Returns both values as short texts; of long texts, the first lines that differ."""
    if isinstance(new, str) and isinstance(old, str) and "\n" in new + old:
        if old.startswith(_HASHED):
            return "another text", "a text that is not on record, only its hash"
        pairs = zip_longest(new.split("\n"), old.split("\n"))
        for number, (now, then) in enumerate(pairs, start=1):
            if now != then:
                return f"line {number}: {_text(now)}", _text(then)
    return _text(new), _text(old)


def _text(value: Any) -> str:
    if value is None:
        return ABSENT
    text = value.strip() if isinstance(value, str) else value
    dumped = json.dumps(text, ensure_ascii=False)
    return dumped if len(dumped) <= _SHOWN else f"{dumped[: _SHOWN - 4]}...{dumped[-1]}"


def _hashed(text: str) -> str:
    return f"{_HASHED}{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
