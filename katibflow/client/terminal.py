"""Prints a run that is followed: its trials like those of a local run, or else its steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TextIO

from katibflow.engine.events import TrialsTakenOver, Update, Watcher
from katibflow.printing import say
from katibflow.study.history import Trial

__all__ = ["Terminal"]


class Terminal:
    """A `following.Screen` that prints lines and passes trials to a display of trials.

    Args:
        trials: Shows the trials; None where they cannot be read.
        stream: Returns the stream for the next line: while a live table is shown, standard output
            is another stream.
    """

    def __init__(self, trials: Watcher | None, stream: Callable[[], TextIO]) -> None:
        self._trials = trials
        self._stream = stream
        self._noted = ""

    def taken_over(self, trials: Sequence[Trial]) -> None:
        """Prints how many trials the run took over; the display counts them as ended."""
        if self._trials is not None:
            self._trials(TrialsTakenOver(tuple(trials)))

    def update(self, update: Update) -> None:
        """Shows that a trial began, is hindered, or ended."""
        if self._trials is not None:
            self._trials(update)

    def steps(self, text: str) -> None:
        """Prints how far the run is."""
        say(f"{datetime.now():%H:%M:%S} {text}", file=self._stream())

    def note(self, text: str) -> None:
        """Prints a problem to standard error, unless it is the same as the last one."""
        if text != self._noted:
            say(text, file=sys.stderr)
        self._noted = text
