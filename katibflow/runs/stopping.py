"""Stops a run of this machine from another process, as Ctrl-C in its own terminal does."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from katibflow.errors import RunBusy, RunnerError
from katibflow.runs.running import read_run
from katibflow.study.history import TrialState

if TYPE_CHECKING:
    from katibflow.runners.folder_records import Holder

__all__ = ["StoppedRun", "stop_run"]

_PATIENCE = 120.0
"""Seconds that the trials of a run may take to end before this stops waiting for them."""

_LEFT = "the run was stopped; its program had been killed"


@dataclass(frozen=True)
class StoppedRun:
    """The outcome of stopping a run of this machine.

    Attributes:
        asked: Whether this call asked the run's program to end.
        is_done: Whether no program runs it any more.
        text: The outcome as a sentence.
    """

    asked: bool
    is_done: bool
    text: str

    def lines(self) -> list[str]:
        """Returns the outcome in lines for a person."""
        return [self.text]


def stop_run(path: Path, warn: Callable[[str], None], patience: float = _PATIENCE) -> StoppedRun:
    """Asks the program that runs an Experiment to end, and waits until it has.

    Where that program was killed, this ends what it has left running on this machine.

    Args:
        path: The run's folder.
        warn: Takes a warning for each record that cannot be read.
        patience: Seconds to wait; 120 by default.

    Raises:
        InputError: There is no run at this path.
        HistoryError: The history of the run cannot be read.
        RunnerError: The program is of another user or another machine.
    """
    from katibflow.runners.folder_records import holder_of

    run = read_run(path, warn)
    folder = run.folder.path
    holder = holder_of(folder) if run.folder.has_trials else None
    if holder is None:
        return _already_over(path, warn)
    asked = not holder.is_stopping
    if asked:
        _signal(folder, holder)
    if not _released(folder, patience):
        text = f"{folder}: process {holder.pid} was asked to end, and has not after {patience:g} s"
        return StoppedRun(asked, False, text)
    return StoppedRun(asked, True, _state(path, warn))


def _signal(folder: Path, holder: Holder) -> None:
    """Sends the signal of Ctrl-C to the program that has the folder's lock.

    Raises:
        RunnerError: It is no process that this machine and this user can end.
    """
    who = f"{folder}: in use by process {holder.pid or 'unknown'}"
    if holder.pid is None or not _has_open(holder.pid, folder / "lock"):
        raise RunnerError(
            f"{who}, which cannot be seen from here: it is of another user, another container or "
            "another machine; stop it there"
        )
    try:
        os.kill(holder.pid, signal.SIGINT)
    except ProcessLookupError:
        pass  # it has just ended
    except OSError as error:
        raise RunnerError(f"{who}: it cannot be stopped: {error.strerror}") from error


def _has_open(pid: int, file: Path) -> bool:
    """Returns whether a process has a file open: a number alone may be another's by now."""
    with suppress(psutil.Error, OSError):
        return any(os.path.samefile(each.path, file) for each in psutil.Process(pid).open_files())
    return False


def _released(folder: Path, patience: float) -> bool:
    """Returns whether a folder's lock gets free within some seconds."""
    from katibflow.runners.folder_records import await_release

    free = threading.Event()

    def wait() -> None:
        with suppress(OSError):  # a folder that was removed has no lock
            await_release(folder)
        free.set()

    threading.Thread(target=wait, name="release", daemon=True).start()
    return free.wait(patience)


def _already_over(path: Path, warn: Callable[[str], None]) -> StoppedRun:
    """Ends what a killed program has left, if anything; stopping a run again is no error."""
    from katibflow.runners.folder_records import end_leftovers, locked

    run = read_run(path, warn)
    if run.ending.succeeded is None and run.folder.has_trials:
        try:
            with locked(run.folder.path):
                end_leftovers(run.folder.path, _LEFT)
        except RunBusy:  # it was started again in this moment
            return stop_run(path, warn)
    return StoppedRun(False, True, _state(path, warn))


def _state(path: Path, warn: Callable[[str], None]) -> str:
    run = read_run(path, warn)
    trials = run.history.trials
    ended = sum(trial.state is not TrialState.RUNNING for trial in trials)
    if run.ending.succeeded is None:
        return f"{run.folder.path} is stopped: {ended} of {len(trials)} trials on record have ended"
    return f"{run.folder.path} is over: {run.ending.reason}: {run.ending.message}"
