"""Finds the known word that a user probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

__all__ = ["did_you_mean"]

_MOST_WORDS = 100
_LONGEST_WORD = 60
_SHORTEST_PART = 3
_MOST_MEANT = 3


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns `` (did you mean X?)``, or nothing if no known word is near.

    Upper and lower case are the same. Comparing takes the product of all lengths, so nothing is
    suggested for long words or among very many.
    """
    by_lower = {each.lower(): each for each in islice(known, _MOST_WORDS + 1)}
    if len(word) > _LONGEST_WORD or len(by_lower) > _MOST_WORDS:
        return ""
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1) or _longer(word, by_lower)
    return f" (did you mean {' or '.join(by_lower[each] for each in matches)}?)" if matches else ""


def _longer(word: str, known: Iterable[str]) -> list[str]:
    """Returns the words that begin with a shortened one, have it inside, or else are inside of it.

    They are few, or none.
    """
    text = word.lower()
    if len(text) < _SHORTEST_PART:
        return []
    begun = [each for each in known if each.startswith(text)]
    found = begun or [each for each in known if text in each]
    found = found or [each for each in known if len(each) >= _SHORTEST_PART and each in text]
    return sorted(found, key=len) if len(found) <= _MOST_MEANT else []
