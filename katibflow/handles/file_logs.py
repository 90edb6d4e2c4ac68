"""Reads the logs of a run's folder, once or as they grow."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from katibflow.errors import InputError, RunnerError
from katibflow.handles.base import LogLines
from katibflow.runs.running import Run
from katibflow.study.files import open_regular
from katibflow.study.history import TrialState

__all__ = ["followed_files", "lines_in_files"]


def lines_in_files(run: Run, trial: int | None) -> LogLines:
    """Yields the lines of a trial's logs, or of all trials' in turn.

    Raises:
        InputError: The run has no such trial.
        RunnerError: There is no log, or it cannot be read.
    """
    files = _files(run, trial)
    if not files:
        raise RunnerError(_none(run, trial))
    for name, path in files.items():
        yield name, None
        for line in _Tail(path).lines(is_over=True):
            yield name, line


def followed_files(read: Callable[[], Run], trial: int | None, poll: float) -> LogLines:
    """Yields the lines of a trial's logs, or of all trials', until no more can come.

    Args:
        read: Reads the run as it is now.
        trial: The trial's number; None for all trials.
        poll: Seconds between two looks.

    Raises:
        InputError: The run has no such trial.
        RunnerError: There is no log, or it cannot be read.
    """
    tails: dict[str, _Tail] = {}
    pause = threading.Event()
    while True:
        run = read()  # before the files: what is there afterwards is all there will be
        is_over = not run.is_driven or (trial is not None and _is_finished(run, trial))
        for name, path in _files(run, trial).items():
            tail = tails.setdefault(name, _Tail(path))
            yield from ((name, line) for line in tail.lines(is_over))
        if is_over:
            break
        pause.wait(poll)
    if not tails:
        raise RunnerError(_none(run, trial))


class _Tail:
    """Reads a file that grows, line by line.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""

    def lines(self, is_over: bool) -> Iterator[str]:
        """Yields the whole lines since the last call; at the end also what has no line's end.

        Raises:
            RunnerError: The file cannot be read.
        """
        try:
            with open(open_regular(self._path), "rb") as file:
                file.seek(self._at)
                for piece in file:
                    self._at += len(piece)
                    self._rest += piece
                    if piece.endswith(b"\n"):
                        yield self._text()
        except OSError as error:
            raise RunnerError(f"{self._path}: cannot be read: {error.strerror}") from error
        if is_over and self._rest:
            yield self._text()

    def _text(self) -> str:
        text = self._rest.decode("utf-8", "replace")
        self._rest = b""
        return text.rstrip("\r\n")


def _files(run: Run, trial: int | None) -> Mapping[str, Path]:
    """Returns title to file of each log; a title names the trial if there are several."""
    _check(run, trial)
    return {
        replica if trial is not None else f"trial {number} {replica}": run.folder.path / log
        for number, logs in sorted(run.folder.logs().items())
        if trial in (None, number)
        for replica, log in logs.items()
    }


def _check(run: Run, trial: int | None) -> None:
    numbers = [each.number for each in run.history.trials]
    if trial is not None and trial not in numbers and not run.is_driven:
        known = f"0 to {max(numbers)}" if numbers else "none yet"
        raise InputError(f"TRIAL: found {trial}; allowed: {known}")


def _is_finished(run: Run, trial: int) -> bool:
    return any(
        each.number == trial and each.state is not TrialState.RUNNING for each in run.history.trials
    )


def _none(run: Run, trial: int | None) -> str:
    if not run.folder.has_trials:
        return f"{run.folder.study}: is a history alone; the logs are where its run was"
    what = "the run has" if trial is None else f"trial {trial} has"
    return f"{run.folder.path}: {what} no log here"
