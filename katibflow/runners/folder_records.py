"""The records in a run's folder on this machine, wherever its trials ran, and the folder's lock.

They have the local runner's form: whatever reads a run's folder finds the same there.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from katibflow.runners.local.runner import LocalRunner, RunLock
from katibflow.study.history import Trial

__all__ = ["FolderRecords", "locked"]


class FolderRecords:
    """The trials on record in a run's folder.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self._runner = LocalRunner(folder)

    def all(self) -> Sequence[Trial]:
        """Returns them, running ones included, by ascending number.

        Raises:
            RunnerError: One cannot be read.
        """
        return self._runner.records()

    def put(self, trial: Trial) -> None:
        """Puts a trial's present state on record; durable when it returns.

        Raises:
            RunnerError: It could not be written.
        """
        self._runner.record(trial)

    def close(self) -> None:
        """Lets go of the folder."""
        self._runner.close()


def locked(folder: Path) -> AbstractContextManager[object]:
    """Keeps a run's folder to this process while the block runs.

    Raises:
        RunBusy: Another process has it.
        RunnerError: It cannot be locked.
    """
    return RunLock(folder)
