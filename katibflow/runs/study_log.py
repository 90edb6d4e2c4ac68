"""Appends the trials of a run to its history file as they end; the file is not written anew.

The lines are in the order of the numbers, so a trial that ends before an earlier one waits in
memory. A process that is killed loses nothing: each trial's own record is on disk before the trial
comes here. What is torn by then at the end of the file is cut off by the next start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from types import TracebackType

from katibflow.engine.events import TrialEnded, Update
from katibflow.errors import RunnerError
from katibflow.study.files import AppendedFile, make_folder, write_atomically
from katibflow.study.history import History, Trial, TrialState, dump_history, dump_trials

__all__ = ["StudyFile", "StudyLog", "write_study"]


@dataclass(frozen=True)
class StudyFile:
    """A history file as it was read.

    Attributes:
        history: Its history, with all trials that it has.
        header: Its first line.
        size: The bytes of its whole lines; what comes after them was torn by a kill. 0 if the last
            line has no end, so that nothing may follow it.
        inode: The number of the file, by which one that was written anew is told from this one.
    """

    history: History
    header: str
    size: int
    inode: int = 0

    @cached_property
    def is_plain(self) -> bool:
        """Whether all its lines stay as they are, so that further ones may be read alone."""
        return bool(self.inode and self.size) and all(
            trial.state.is_finished for trial in self.history.trials
        )

    def begins(self, history: History) -> bool:
        """Returns whether the file is the beginning of a history, so that lines may follow."""
        header = dump_history(replace(history, trials=()))
        wanted = iter(history.trials)
        return (
            bool(self.size)
            and header == f"{self.header}\n"
            and all(
                mine.state.is_finished and mine is next(wanted, None)
                for mine in self.history.trials
            )
        )


class StudyLog:
    """Takes the trials of a run as they end, as a watcher of the engine, within its block.

    Args:
        path: The history file.
        history: The history that the run begins with.
        found: The file as it was read; None if there is none.

    Raises:
        RunnerError: On entering, and in each call: the file cannot be written.
    """

    def __init__(self, path: Path, history: History, found: StudyFile | None) -> None:
        self._path = path
        self._begun = history
        self._found = found
        self._file: AppendedFile | None = None
        self._count, self._last, self._is_sorted = 0, -1, True
        self._waiting: dict[int, Trial] = {}
        self._expected: Iterator[int] = iter(())
        self._head = 0

    def __enter__(self) -> StudyLog:
        history, found = self._begun, self._found
        over = [trial for trial in history.trials if trial.state.is_finished]
        goes_on = found is not None and found.begins(replace(history, trials=over))
        if not goes_on:
            write_study(self._path, replace(history, trials=over))
        with _unwritable(self._path):
            self._file = AppendedFile(self._path, found.size if goes_on and found else None)
        there = len(found.history.trials) if goes_on and found is not None else len(over)
        self._count, self._last = there, over[there - 1].number if there else -1
        more = {trial.number: trial for trial in over[there:]}
        under_way = [t.number for t in history.trials if t.state is TrialState.RUNNING]
        self._expected = chain(sorted([*under_way, *more]), count(history.next_number))
        self._head = next(self._expected)
        self._waiting = more
        self._append_in_order()
        return self

    def __call__(self, update: Update) -> None:
        """Takes an update of the engine."""
        if isinstance(update, TrialEnded):
            self._waiting[update.trial.number] = update.trial
            self._append_in_order()

    def end(self, history: History) -> None:
        """Brings the file up to date with the run's end, also with trials that have not ended."""
        rest = [trial for trial in history.trials if trial.number > self._last]
        if not self._is_sorted or self._count + len(rest) != len(history.trials):
            # When this run began, later trials had ended already.
            write_study(self._path, history)
            return
        self._append(rest)
        with _unwritable(self._path):
            self._open.sync()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _open(self) -> AppendedFile:
        assert self._file is not None, "the log is used within its block"
        return self._file

    def _append_in_order(self) -> None:
        ended: list[Trial] = []
        while (trial := self._waiting.pop(self._head, None)) is not None:
            ended.append(trial)
            self._head = next(self._expected)
        self._append(ended)

    def _append(self, trials: Iterable[Trial]) -> None:
        trials = list(trials)
        with _unwritable(self._path):
            self._open.append(dump_trials(trials))
        self._count += len(trials)
        for trial in trials:
            self._is_sorted = self._is_sorted and trial.number > self._last
            self._last = max(self._last, trial.number)


def write_study(path: Path, history: History) -> None:
    """Writes a whole history file, so that a reader sees either the old file or the new one.

    Raises:
        RunnerError: The file cannot be written.
    """
    with _unwritable(path):
        make_folder(path.parent)
        write_atomically(path, dump_history(history), durable=True)


@contextmanager
def _unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunnerError(f"{path}: cannot be written: {error.strerror}") from error
