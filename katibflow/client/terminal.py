"""Shows a run that is followed: its trials as those of local runs are shown, or else its steps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

from katibflow.engine.events import Update, Watcher

__all__ = ["Terminal"]


class Terminal:
    """A `following.Screen` of lines, beside what shows the trials.

    Args:
        trials: Shows them; None where they cannot be seen.
        stream: Where the lines go, asked for each: a live table has its own in place of standard
            output while it is shown.
    """

    def __init__(self, trials: Watcher | None, stream: Callable[[], TextIO]) -> None:
        self._trials = trials
        self._stream = stream
        self._noted = ""

    def update(self, update: Update) -> None:
        """Shows that a trial began or ended."""
        if self._trials is not None:
            self._trials(update)

    def steps(self, text: str) -> None:
        """Says how far the run is."""
        print(f"{datetime.now():%H:%M:%S} {text}", file=self._stream(), flush=True)

    def note(self, text: str) -> None:
        """Says what hinders the view, once."""
        if text != self._noted:
            print(text, file=sys.stderr, flush=True)
        self._noted = text
