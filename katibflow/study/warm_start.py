"""Gives a history the trials of an earlier experiment, from which the sampler learns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from katibflow.study.history import History, Trial

__all__ = ["warmed"]


def warmed(history: History, trials: Iterable[Trial]) -> History | None:
    """Returns the history with trials of an earlier experiment before its own; None without one.

    Attributes may name other trials by number, so the trials come without them.

    Args:
        history: The history that the run begins with.
        trials: The earlier experiment's, of which those count that have ended by themselves.
    """
    warm = tuple(
        replace(trial, number=number, attributes={})
        for number, trial in enumerate(each for each in trials if each.state.counts)
    )
    return replace(history, warm=warm) if warm else None
