"""Names the options with which a start of a run repeats the start before."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from contextlib import suppress

from katibflow.study.changes import ABSENT, Change

__all__ = ["options_as_before"]

_SETTINGS = "spec.algorithm.algorithmSettings."
_ALGORITHM = "spec.algorithm.algorithmName"
_OPTIONS = {
    "spec.objective.goal": ("--goal", "goal"),
    _ALGORITHM: ("--algorithm", "algorithm_name"),
    f"{_SETTINGS}random_state": ("--seed", "seed"),
    f"{_SETTINGS}seed": ("--seed", "seed"),
}
"""Path of a change to the option that makes it, on the command line and in Python."""

_ENV = re.compile(r"\.env(\[\d+\])?$")


def options_as_before(found: Collection[Change]) -> str:
    """Returns options that undo all changes, as "--seed 1 (seed=1), as before"; "" if none do.

    Args:
        found: What differs from the start before.
    """
    by_algorithm = any(each.path == _ALGORITHM for each in found)
    words: list[str] = []
    for each in found:
        # Another algorithm has its own settings, and the option drops those of the file.
        if by_algorithm and each.path.startswith(_SETTINGS) and each.then == ABSENT:
            continue
        undone = list(_undoing(each))
        if not undone:
            return ""
        words += undone
    return f"{', '.join(words)}, as before" if words else ""


def _undoing(change: Change) -> Iterator[str]:
    option, keyword = _OPTIONS.get(change.path, ("", ""))
    if change.path.startswith("--"):
        option, keyword = change.path, change.path[2:].replace("-", "_")
    if option and change.then == ABSENT:
        yield f"no {option} ({keyword}=None)"
    elif option:
        value = change.then.strip('"')
        shown = f'"{value}"' if option not in ("--seed", "--goal") else value
        yield f"{option} {value} ({keyword}={shown})"
    elif _ENV.search(change.path) and change.found == ABSENT:
        with suppress(ValueError):  # too long to be shown as a whole
            then = json.loads(change.then)
            for each in then if isinstance(then, list) else [then]:
                if set(each) == {"name", "value"}:
                    yield f"--env {each['name']}={each['value']} (env={{{each['name']!r}: ...}})"
