"""Reads and writes the folder of a run, ``<runs>/<experiment>/``, without the records of trials.

``study.jsonl`` is the study history. Each start writes all trials that are on record by then, those
of earlier runs included, and each end does so again. In between ``trials/`` has the newest records,
which `runners.folder_records` reads and writes. A trial that the history has as finished stays
finished, whatever becomes of its record. ``report.html`` is the report, and ``lock`` belongs to the
process that runs the experiment.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from katibflow.errors import HistoryError, InputError, RunnerError
from katibflow.experiment.types import Experiment
from katibflow.study.changes import (
    Change,
    changed_place,
    changed_programs,
    changes,
    changes_text,
    compared,
)
from katibflow.study.files import make_folder, read_regular, sync_folder, write_atomically
from katibflow.study.history import History, Trial, dump_history, load_history, readable_history
from katibflow.study.resume import check_resume
from katibflow.suggestion.suggester import new_seed

__all__ = ["RunFolder", "read_history_file", "with_records"]


def with_records(history: History, records: Iterable[Trial]) -> History:
    """Returns the history with the trials on record; one that is finished there stays so.

    Its folder or its job may be deleted by now, or its job may have been made anew.
    """
    over = {trial.number for trial in history.trials if trial.state.is_finished}
    return history.with_trials(
        trial for trial in records if trial.state.is_finished or trial.number not in over
    )


_STUDY = "study.jsonl"

_OTHERWISE = (
    "--fresh (in Python fresh=True), to begin anew, with the old folder kept beside under a dated "
    "name; or another --name"
)


def read_history_file(path: Path, warn: Callable[[str], None] | None = None) -> History:
    """Reads a history file.

    Args:
        path: The file.
        warn: Takes a warning for each line that cannot be read. None: such a line is an error.

    Raises:
        HistoryError: The file, its header or, without ``warn``, a line cannot be read.
    """
    try:
        text = read_regular(path, follow=True).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror or error}") from error
    if warn is None:
        return load_history(text, str(path))
    history, faults = readable_history(text, str(path))
    for fault in faults:
        warn(fault)
    return history


class RunFolder:
    """The files of one local run, or of a history that was downloaded.

    Args:
        path: The run's folder; it need not exist.
        study: The history file; by default ``study.jsonl`` in the folder. Another one outside or
            inside of it is all that there is of its run, but for the report beside it.
    """

    def __init__(self, path: Path, study: Path | None = None) -> None:
        self.path = path
        self.study = study or path / _STUDY
        self.report = path / "report.html"
        if study is not None:
            self.report = study.with_name(f"{study.stem}.html")
        self._is_whole = study is None

    @classmethod
    def of(cls, path: Path) -> RunFolder:
        """Returns the run that a path names: its folder, its history file, or a folder with one.

        Raises:
            InputError: The path is a folder with several histories.
        """
        if path.is_file():
            return cls(path.parent) if path.name == _STUDY else cls(path.parent, path)
        if (path / _STUDY).is_file() or not path.is_dir():
            return cls(path)
        histories = sorted(each for each in path.glob("*.jsonl") if each.is_file())
        if len(histories) > 1:
            names = ", ".join(map(str, histories[:5]))
            raise InputError(f"{path}: found {len(histories)} histories; allowed: one of {names}")
        return cls(path, histories[0]) if histories else cls(path)

    def check_parent(self) -> None:
        """Makes the folder of runs, which this run's folder is in, unless it is there.

        Raises:
            InputError: It cannot be made, or is no folder.
        """
        try:
            make_folder(self.path.parent)
        except OSError as error:
            raise InputError(
                f"--runs {self.path.parent}: cannot be made: {error.strerror}; allowed: a folder, "
                "which need not exist"
            ) from error

    def check_outside(self, output: Path) -> None:
        """Checks that a page may be written to a path: it is none of the run's own files.

        Raises:
            InputError: It is the history, or another file that the run's folder has, but for pages.
        """
        there = output.resolve()
        is_own = there == self.study.resolve()
        if self._is_whole and there.is_relative_to(self.path.resolve()):
            is_own = is_own or (there.exists() and there.suffix != self.report.suffix)
        if is_own:
            raise InputError(
                f"--output {output}: found a file of the run; allowed: {self.report}, or another "
                "file"
            )

    @property
    def has_trials(self) -> bool:
        """Whether the trials' own records and logs are here too, beside the history."""
        return self._is_whole and (self.path / "trials").is_dir()

    def begin(
        self,
        source: str,
        experiment: Experiment,
        take_over: Callable[[History], History] | None = None,
        *,
        programs: Mapping[str, str] | None = None,
        place: Mapping[str, str] | None = None,
        keep: bool = False,
    ) -> tuple[History, tuple[Change, ...]]:
        """Begins a run, or goes on with the run in this folder; writes nothing.

        Args:
            source: The name of the experiment's origin in errors.
            experiment: The experiment that is to be run.
            take_over: Adds trials of earlier runs to a new history; by default none.
            programs: Name to hash of the files of the trials' programs; by default none are known.
            place: What says where the trials run: an option to its value; by default not compared.
            keep: Whether to go on if the experiment, a program or the place has changed since.

        Returns:
            The history, a new one or that of the folder, with the trials that have finished; and
            what has changed since those ran, which is nothing unless ``keep``.

        Raises:
            InvalidExperiment: The run in this folder has another search space or objective.
            InputError: Something else has changed, and ``keep`` is False.
            HistoryError: The history of the run is missing or cannot be read.
        """
        found: tuple[Change, ...] = ()
        if self.study.exists():
            old = self._begun()
            check_resume(source, experiment, old.experiment, _OTHERWISE)
            found = (
                *changes(compared(experiment), compared(old.experiment)),
                *changed_programs(programs or {}, old.programs),
                *changed_place(place or {}, old.place),
            )
            if found and not keep:
                raise InputError(
                    f"{source}: {self.path} has a run that is not of this Experiment:"
                    f"{changes_text(found)}\nallowed: {_OTHERWISE}; or --keep (keep=True), to go "
                    "on with the trials that are there, which the report then says"
                )
            # A file that cannot be found now keeps its mark, for the start that finds it again.
            known = {**old.programs, **(programs or {})}
            history = replace(old, experiment=experiment, programs=known, place=place or old.place)
        elif any(self.path.glob("trials/*/record.json")):
            raise HistoryError(
                f"{self.study} is missing beside trials on record; put it back; or {_OTHERWISE}"
            )
        else:
            run = secrets.token_hex(4)
            seed = new_seed(experiment, run)
            history = History(experiment, run, seed, programs=programs or {}, place=place or {})
            if take_over is not None:
                history = take_over(history)
        return history, found

    def set_aside(self) -> Path:
        """Renames the folder, so that a run can begin anew in its place; returns the new path.

        The new name has the time in it, as ``mnist.2026-01-31T08-15-00``.

        Raises:
            RunnerError: The folder cannot be renamed.
        """
        time = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
        names = (f"{self.path.name}.{time}{f'-{n}' if n > 1 else ''}" for n in itertools.count(1))
        path = next(path for path in map(self.path.with_name, names) if not path.exists())
        try:
            self.path.rename(path)
            sync_folder(path.parent)
        except OSError as error:
            raise RunnerError(f"{self.path}: cannot be renamed: {error.strerror}") from error
        return path

    def save(self, history: History) -> None:
        """Writes the history so that a reader sees either the old file or the whole new one.

        Raises:
            RunnerError: The history cannot be written.
        """
        try:
            make_folder(self.path)
            write_atomically(self.study, dump_history(history), durable=True)
        except OSError as error:
            raise RunnerError(f"{self.study}: cannot be written: {error.strerror}") from error

    def history(self, records: Sequence[Trial], warn: Callable[[str], None]) -> History:
        """Returns the history of the run as it is on record now.

        Args:
            records: The trials that are on record; the history file may lack them.
            warn: Takes a warning for each line that cannot be read. The history has the others.

        Raises:
            InputError: There is no run in this folder.
            HistoryError: The history cannot be read.
        """
        self.check_begun()
        if not self.has_trials:
            return read_history_file(self.study, warn)
        return with_records(self._begun(warn), records)

    def run_on_record(self) -> str | None:
        """Returns the id of the run in this folder, or None if none can be read there."""
        try:
            return self._begun(lambda text: None).run
        except HistoryError:
            return None

    def check_begun(self) -> None:
        """Checks that there is a run in this folder.

        Raises:
            InputError: There is none.
        """
        if not self.study.is_file():
            raise InputError(
                f"{self.path}: found no {self.study.name}; allowed: the folder of a run, as "
                "runs/mnist, or a study history"
            )

    def logs(self) -> Mapping[int, Mapping[str, str]]:
        """Returns trial number to replica name to the path of its log, relative to this folder."""
        logs: dict[int, dict[str, str]] = {}
        if not self.has_trials:
            return logs
        for path in sorted(self.path.glob("trials/[0-9]*/*.log")):
            if path.parent.name.isdigit():
                log = path.relative_to(self.path).as_posix()
                logs.setdefault(int(path.parent.name), {})[path.stem] = log
        return logs

    def record_folders(self) -> Iterator[Path]:
        """Yields the folders that change when the history does: those of trials and of records."""
        yield self.path
        yield self.path / "trials"
        yield from self.path.glob("trials/[0-9]*/")

    def _begun(self, warn: Callable[[str], None] | None = None) -> History:
        """Returns the history as it was last written, with its finished trials only.

        Args:
            warn: Takes a warning for each line that cannot be read. None: such a line is an error,
                since a run that goes on without a trial loses the trial for good.
        """
        history = read_history_file(self.study, warn)
        over = tuple(trial for trial in history.trials if trial.state.is_finished)
        return replace(history, trials=over)
