"""The records in a run's folder on this machine, for trials that ran anywhere, and its lock.

The records have the local runner's form, so that every reader of a run's folder can read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from katibflow.runners.local.daemons import daemons_end
from katibflow.runners.local.lock import Holder, LockWait, RunLock, holder_of, is_held
from katibflow.runners.local.runner import LocalRunner
from katibflow.runners.local.settled import Settled
from katibflow.study.history import History, Trial

__all__ = [
    "FolderRecords",
    "Holder",
    "await_release",
    "daemons_end",
    "end_leftovers",
    "holder_of",
    "is_in_use",
    "locked",
]


class FolderRecords:
    """The trials on record in a run's folder.

    Args:
        folder: The run's folder.
        history: The run's history as its file has it; by default all records are read.
    """

    def __init__(self, folder: Path, history: History | None = None) -> None:
        settled = Settled() if history is None else Settled.of(history, folder)
        self._runner = LocalRunner(folder, settled=settled)

    def all(self) -> Sequence[Trial]:
        """Returns all trials, running ones included, by ascending number.

        Raises:
            RunnerError: A record cannot be read.
        """
        return self._runner.records()

    def readable(self, warn: Callable[[str], None]) -> Sequence[Trial]:
        """Returns the trials whose records can be read, by ascending number.

        Args:
            warn: Called with the reason for each record that cannot be read.

        Raises:
            RunnerError: The folder cannot be read.
        """
        return self._runner.readable_records(warn)

    def put(self, trial: Trial) -> None:
        """Writes a trial's present state to its record; the record is durable when this returns.

        Raises:
            RunnerError: The record could not be written.
        """
        self._runner.record(trial)

    def close(self) -> None:
        """Releases the folder."""
        self._runner.close()


def locked(folder: Path) -> RunLock:
    """Locks a run's folder for this process while the block runs.

    Raises:
        RunBusy: Another process has the lock.
        RunnerError: The folder cannot be locked.
    """
    return RunLock(folder)


def is_in_use(folder: Path) -> bool:
    """Returns whether a process holds the lock of a run's folder, and so runs its trials."""
    return is_held(RunLock(folder).path)


def await_release(folder: Path) -> None:
    """Waits until no process has the lock of a run's folder.

    Raises:
        OSError: The lock's file cannot be read.
    """
    LockWait(RunLock(folder).path)()


def end_leftovers(folder: Path, reason: str) -> None:
    """Ends the processes that a killed program has left running here, of all trials of a run.

    Args:
        folder: The run's folder, which the caller has locked.
        reason: The reason, for the trials' records.

    Raises:
        RunnerError: Processes could not be ended.
    """
    runner = LocalRunner(folder)
    try:
        runner.sweep((), reason)
    finally:
        runner.close()
