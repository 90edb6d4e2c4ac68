"""Finds the known word that a user probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

__all__ = ["did_you_mean"]

_MOST_WORDS = 100
_LONGEST_WORD = 60


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns `` (did you mean X?)``, or nothing if no known word is near.

    Upper and lower case are the same. Comparing takes the product of all lengths, so nothing is
    suggested for long words or among very many.
    """
    by_lower = {each.lower(): each for each in islice(known, _MOST_WORDS + 1)}
    if len(word) > _LONGEST_WORD or len(by_lower) > _MOST_WORDS:
        return ""
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[matches[0]]}?)" if matches else ""
