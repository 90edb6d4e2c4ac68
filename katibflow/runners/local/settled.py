"""The trials whose end a run's history has: their folders need not be read again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from katibflow.runners.local.trial_folder import RECORD
from katibflow.study.files import STUDY_FILE
from katibflow.study.history import History

__all__ = ["Settled"]


@dataclass(frozen=True)
class Settled:
    """The trials that have ended and whose end the history's file has.

    Attributes:
        numbers: Their numbers.
        since: When the file was written last, in nanoseconds; a record that is not older may say
            something else, and is read.
    """

    numbers: frozenset[int] = frozenset()
    since: int = 0

    @staticmethod
    def of(history: History, folder: Path) -> Settled:
        """Returns the trials of a history that was read from a run's folder."""
        numbers = frozenset(trial.number for trial in history.trials if trial.state.is_finished)
        try:
            return Settled(numbers, os.stat(folder / STUDY_FILE).st_mtime_ns)
        except OSError:
            return Settled()

    def is_unread(self, number: int, path: str) -> bool:
        """Returns whether a trial's record has to be read.

        Args:
            number: The trial's number.
            path: The trial's folder.
        """
        if number not in self.numbers:
            return True
        try:
            return os.lstat(f"{path}/{RECORD}").st_mtime_ns >= self.since
        except OSError:
            return True
