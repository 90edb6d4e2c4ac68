"""The run parameter ``warmStart``: an Experiment from whose trials the algorithm learns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from katibflow.errors import InputError
from katibflow.steps.values import NONE, is_nothing

if TYPE_CHECKING:
    from katibflow.study.history import History
    from katibflow.study.resume import EarlierTrial

__all__ = ["check_warm_start", "with_warm_start"]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_RUN = re.compile(r"[0-9a-f]{8}")

_Earlier = Callable[[str], Iterable["EarlierTrial"]]


def check_warm_start(text: str) -> None:
    """Checks the run parameter ``warmStart``.

    Raises:
        InputError: It is neither none nor names an Experiment or a run of one.
    """
    name, _, run = text.strip().partition("/")
    if not is_nothing(text) and not (_NAME.fullmatch(name) and (not run or _RUN.fullmatch(run))):
        raise InputError(
            f'warmStart: found "{text}"; allowed: {NONE}, the name of an earlier Experiment, or '
            "NAME/RUN, of which RUN is the label katibflow/run of its jobs"
        )


def with_warm_start(
    source: str, history: History, given: Mapping[str, str], earlier: _Earlier
) -> History:
    """Returns the study with an earlier Experiment's trials, from which the sampler learns."""
    from katibflow.study.warm_start import warmed
    from katibflow.suggestion import algorithms

    text = given.get("warmStart", NONE)
    if is_nothing(text):
        return history
    check_warm_start(text)
    algorithms.check_warm_start(history.experiment)
    name, _, run = text.strip().partition("/")
    known = [each for each in earlier(name) if each.run != history.run and run in ("", each.run)]
    for search in dict.fromkeys(each.search for each in known):
        _check_same_search(source, history, search, text)
    made = warmed(history, (each.trial for each in known))
    if made is None:
        raise InputError(
            f'warmStart: found "{text}", of which no trial that has ended is on record; allowed: '
            f"{NONE}, or an Experiment, or a run of it, with one"
        )
    return made


def _check_same_search(source: str, history: History, search: str, text: str) -> None:
    from katibflow.study.resume import check_searched

    try:
        check_searched(source, history.experiment, json.loads(search), text, "warmStart none")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'warmStart: found "{text}", whose jobs do not say what they searched; allowed: {NONE}'
        ) from error
