"""Reads and writes the folder of a run, ``<runs>/<experiment>/``, without the records of trials.

``study.jsonl`` is the study history, to which each trial is appended once it and all earlier ones
have ended (`runs.study_log`). ``trials/`` has the newest records, which `runners.folder_records`
reads and writes. A trial that the history has as finished stays finished, whatever becomes of its
record. ``report.html`` is the report, and ``lock`` belongs to the
process that runs the experiment.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from katibflow.errors import HistoryError, InputError, RunnerError
from katibflow.experiment.types import Experiment
from katibflow.runs.repeating import options_as_before
from katibflow.runs.study_log import StudyFile, StudyLog, write_study
from katibflow.study.changes import (
    Change,
    changed_place,
    changed_programs,
    changes,
    changes_text,
    compared,
)
from katibflow.study.files import STUDY_FILE, make_folder, open_regular, read_regular, sync_folder
from katibflow.study.history import History, Trial, load_history, readable_history
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
    return _parsed(_text_of(path), path, warn)


def _text_of(path: Path) -> str:
    try:
        return read_regular(path, follow=True).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise HistoryError(f"{path}: cannot be read: {error.strerror or error}") from error


def _parsed(text: str, path: Path, warn: Callable[[str], None] | None) -> History:
    if warn is None:
        return load_history(text, str(path))
    history, faults = readable_history(text, str(path))
    for fault in faults:
        warn(fault)
    return history


def _ended(history: History) -> History:
    """Returns a history with the trials that have ended only."""
    if all(trial.state.is_finished for trial in history.trials):
        return history
    return replace(history, trials=tuple(t for t in history.trials if t.state.is_finished))


def _without_torn_line(text: str) -> str:
    """Returns the text without a last line that a kill has cut short, or that is being written."""
    whole, end, rest = text.rpartition("\n")
    if not end or not rest:
        return text
    try:
        json.loads(rest)
    except ValueError:
        return f"{whole}\n"
    return text


class RunFolder:
    """The files of one local run, or of a history that was downloaded.

    Args:
        path: The run's folder; it need not exist.
        study: The history file; by default ``study.jsonl`` in the folder. Another one outside or
            inside of it is all that there is of its run, but for the report beside it.
    """

    def __init__(self, path: Path, study: Path | None = None) -> None:
        self.path = path
        self.study = study or path / STUDY_FILE
        self.report = path / "report.html"
        if study is not None:
            self.report = study.with_name(f"{study.stem}.html")
        self._is_whole = study is None
        self._found: StudyFile | None = None

    @classmethod
    def of(cls, path: Path) -> RunFolder:
        """Returns the run that a path names: its folder, its history file, or a folder with one.

        Raises:
            InputError: The path is a folder with several histories.
        """
        if path.is_file():
            return cls(path.parent) if path.name == STUDY_FILE else cls(path.parent, path)
        if (path / STUDY_FILE).is_file() or not path.is_dir():
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
                as_before = options_as_before(found)
                ways = f"{as_before}; or {_OTHERWISE}" if as_before else _OTHERWISE
                raise InputError(
                    f"{source}: {self.path} has a run that is not of this Experiment:"
                    f"{changes_text(found)}\nallowed: {ways}; or --keep (keep=True), to go "
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
        write_study(self.study, history)

    def log(self, history: History) -> StudyLog:
        """Returns what appends the trials of a run to the history, which `begin` has read.

        Args:
            history: The history that the run begins with.
        """
        return StudyLog(self.study, history, self._found)

    def begun(self, warn: Callable[[str], None]) -> History:
        """Returns the trials that the history file has as finished; its records have the others.

        Args:
            warn: Takes a warning for each line that cannot be read. The history has the others.

        Raises:
            InputError: There is no run in this folder.
            HistoryError: The history cannot be read.
        """
        self.check_begun()
        if not self.has_trials:
            return read_history_file(self.study, warn)
        grown = self._grown()
        return self._begun(warn) if grown is None else grown

    def _grown(self) -> History | None:
        """Returns the history from what was appended since the last call; None if that is not so.

        A file that was written anew, or that has lines of another kind, is read as a whole.
        """
        found = self._found
        if found is None or not found.is_plain:
            return None
        try:
            with open(open_regular(self.study, follow=True), "rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_ino != found.inode or stat.st_size < found.size:
                    return None
                file.seek(found.size)
                appended = file.read().rpartition(b"\n")
            text = "".join(part.decode() for part in appended[:2])
            more = load_history(f"{found.header}\n{text}").trials
        except (HistoryError, OSError, UnicodeDecodeError):
            return None
        history = found.history.with_trials(more)
        if len(history.trials) != len(found.history.trials) + len(more):
            return None
        size = found.size + len(text.encode())
        made = StudyFile(history, found.header, size, found.inode)
        if made.is_plain:
            self._found = made
        return _ended(history)

    @property
    def found(self) -> History | None:
        """The history as `begin` has read it; None if there was none."""
        return None if self._found is None else self._found.history

    def on_record(self) -> History | None:
        """Returns the history as it was last written, or None if none can be read there."""
        try:
            return self._begun(lambda text: None)
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

    def record_folders(self, over: Container[int] = ()) -> Iterator[Path]:
        """Yields the folders that change when the history does: those of trials and of records.

        Args:
            over: Numbers of trials that have ended, whose folders are left out; none by default.
        """
        yield self.path
        trials = self.path / "trials"
        yield trials
        with suppress(OSError):
            for name in os.listdir(trials):
                if name.isascii() and name.isdigit() and int(name) not in over:
                    yield trials / name

    def _begun(self, warn: Callable[[str], None] | None = None) -> History:
        """Returns the history as it was last written, with its finished trials only.

        Args:
            warn: Takes a warning for each line that cannot be read. None: such a line is an error,
                since a run that goes on without a trial loses the trial for good.
        """
        faults: list[str] = []

        def tell(fault: str) -> None:
            faults.append(fault)
            if warn is not None:
                warn(fault)

        try:
            inode = os.stat(self.study).st_ino
        except OSError:
            inode = 0
        text = _without_torn_line(_text_of(self.study))
        history = _parsed(text, self.study, None if warn is None else tell)
        size = len(text.encode("utf-8", "surrogateescape")) if text.endswith("\n") else 0
        found = StudyFile(history, text.partition("\n")[0], size, inode)
        self._found = None if faults else found
        return _ended(history)
