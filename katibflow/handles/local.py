"""Runs of this machine as handles: a folder, or a study history that was downloaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from katibflow.errors import InputError, KatibflowError
from katibflow.handles.base import (
    Configured,
    LogLines,
    Pause,
    RunHandle,
    RunSource,
    Snapshot,
    StopOutcome,
    Streams,
    Where,
    state_of,
)
from katibflow.handles.file_logs import followed_files, lines_in_files
from katibflow.handles.following import follow_by_looking
from katibflow.runs.folder import RunFolder
from katibflow.runs.running import Run, read_run
from katibflow.study.files import STUDY_FILE

__all__ = ["NAME", "SOURCE", "LocalRun", "LocalRuns", "earlier_run", "path_meant"]

NAME = "local"
_POLL = 0.5  # seconds
_MAY_BE_ID = re.compile(r"[0-9a-f]{4,8}")


class LocalRun:
    """A run in a folder of this machine, wherever its trials ran; a `RunHandle`.

    Args:
        path: The run's folder, or its history file.
        where: What the user says of where runs are.

    Raises:
        InputError: There is no run at this path.
    """

    on = NAME

    def __init__(self, path: Path, where: Where) -> None:
        self._path = path
        self._where = where
        self._told: set[str] = set()
        self._folder = RunFolder.of(path)
        self._folder.check_begun()

    @property
    def files(self) -> RunFolder:
        """The run's files."""
        return self._folder

    @property
    def run_id(self) -> str:
        """The id that the run's history and its jobs carry."""
        return self._read().history.run

    @property
    def name(self) -> str:
        """The folder's name, which is the Experiment's; of a history file alone, the file's."""
        if self._folder.study.name == STUDY_FILE:
            return self._folder.path.resolve().name
        return self._folder.study.name

    @property
    def experiment(self) -> str:
        """The run's name, as it has its Experiment's."""
        return self.name

    @property
    def argument(self) -> str:
        """The run's path."""
        return str(self._path)

    @property
    def job_run(self) -> str:
        """The label ``katibflow/run`` of the run's jobs, where they are in a cluster."""
        return self.run_id

    @property
    def link(self) -> str:
        """The run's folder, or the history file if there is no more."""
        return str(self._path)

    def _read(self) -> Run:
        return read_run(self._folder, self._warn)

    def _warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._where.warn(text)

    def state(self) -> str:
        """Returns whether a program runs it, or how it ended."""
        return self.snapshot().state

    def snapshot(self, *, brief: bool = False) -> Snapshot:
        """Returns the run as it is on record now."""
        run = self._read()
        history = run.history
        begun = [trial.queued or trial.start for trial in history.trials]
        times = sorted(datetime.fromisoformat(each) for each in begun if each is not None)
        return Snapshot(
            on=NAME,
            run_id=history.run,
            name=self.name,
            experiment=history.experiment.name,
            state=state_of(run.ending, run.is_driven),
            created=times[0] if times else _changed(self._folder.study),
            history=history,
            ending=run.ending,
            link=self.link,
        )

    def follow(
        self, pause: Pause, stream: Streams | None, *, poll: float | None = None
    ) -> Snapshot:
        """Shows the run until no program runs it, or until ``pause`` returns True."""
        seconds = _POLL if poll is None else poll
        return follow_by_looking(self.snapshot, lambda now: now.is_over, pause, stream, seconds)

    def logs(
        self, trial: int | None, *, follow: bool = False, poll: float | None = None
    ) -> LogLines:
        """Yields the lines of a trial's replicas, or of all trials' in turn."""
        seconds = _POLL if poll is None else poll
        if follow:
            return followed_files(self._read, trial, seconds)
        return lines_in_files(self._read(), trial)

    def stop(self, *, poll: float | None = None) -> StopOutcome:
        """Ends the run as Ctrl-C in its own terminal does, and returns once it has ended."""
        from katibflow.runs.stopping import stop_run

        return stop_run(self._path, self._warn)


def _changed(path: Path) -> datetime | None:
    with suppress(OSError):
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return None


class LocalRuns:
    """Finds runs in the folder of runs, and by their paths; a `RunSource`."""

    summary = "on this machine"
    wanted = "a run's folder, as runs/mnist, its study history, or the folder's name"

    def configured(self, where: Where) -> Configured:
        """Returns that the file system can always be asked."""
        return Configured.FOUND

    def find(self, wanted: str, where: Where) -> Sequence[RunHandle]:
        """Returns the run of a path, of a folder's name in the runs' folder, or of an id."""
        path = Path(wanted)
        if wanted and path.exists() and ("/" in wanted or path.is_file() or _is_run(path)):
            return (LocalRun(path, where),)
        if "/" not in wanted and wanted and _is_run(where.runs / wanted):
            return (LocalRun(where.runs / wanted, where),)
        if not _MAY_BE_ID.fullmatch(wanted):
            return ()
        return [each for each in _runs(where) if _has_id(each, wanted)]

    def latest(self, where: Where, limit: int) -> Iterable[RunHandle]:
        """Yields the runs in the runs' folder, the one that changed last first.

        Raises:
            InputError: The folder of runs cannot be read.
        """
        yield from _runs(where)[:limit]


def path_meant(wanted: str, where: Where, what: str = "RUN") -> Path:
    """Returns the path of the run of this machine that a user means.

    Args:
        wanted: A path, the folder's name in the runs' folder, or an id or its first letters.
        where: What the user says of where runs are.
        what: The argument's name in errors.

    Returns:
        The run's folder or history. A path is returned as it is if it has no run: its reader says
        what is wrong with it.

    Raises:
        InputError: No run or several runs match.
    """
    found = LocalRuns().find(wanted, where)
    if len(found) == 1:
        return Path(found[0].argument)
    if found:
        shown = ", ".join(f"{each.run_id} ({each.link})" for each in found[:5])
        raise InputError(
            f'{what}: found "{wanted}", which are {len(found)} runs: {shown}; allowed: one of them'
        )
    if "/" in wanted or Path(wanted).exists():
        return Path(wanted)
    raise InputError(
        f'{what}: found "{wanted}"; allowed: {LocalRuns.wanted} in {where.runs}, or its id'
    )


def earlier_run(wanted: str | Path | None, where: Where, what: str) -> Path | None:
    """Returns the path of the run of a warm start, as `path_meant` does; None for no warm start."""
    return None if wanted is None else path_meant(str(wanted), where, what)


def _is_run(path: Path) -> bool:
    with suppress(InputError):
        return RunFolder.of(path).study.is_file()
    return True  # a folder with several histories: the handle says so


def _has_id(run: LocalRun, wanted: str) -> bool:
    with suppress(KatibflowError):
        return run.run_id.startswith(wanted)
    return False


def _runs(where: Where) -> list[LocalRun]:
    if not where.runs.is_dir():
        return []
    try:
        paths = [path for path in where.runs.iterdir() if (path / STUDY_FILE).is_file()]
        paths.sort(key=lambda path: (path / STUDY_FILE).stat().st_mtime, reverse=True)
    except OSError as error:
        raise InputError(f"--runs {where.runs}: cannot be read: {error.strerror}") from error
    return [LocalRun(path, where) for path in paths]


SOURCE: RunSource = LocalRuns()
