"""Copies the lines that trials print to files on this machine, for any runner."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from katibflow.errors import RunnerError
from katibflow.runners.base import JobOutcome, Runner, TrialJob
from katibflow.runners.events import Event, LogLine, MetricLine, Observer, Started
from katibflow.runners.stopping import StopRequest
from katibflow.study.files import open_regular, read_regular
from katibflow.study.history import Trial

__all__ = ["LoggedRunner", "Logs", "copied", "position_of"]

Logs = Mapping[type[LogLine] | type[MetricLine], Path]
"""The file for each kind of line that is copied."""


class _Copy:
    """The file with a copy of one kind of line.

    A position file beside it says how far the copy goes, in the runner's words, so that another
    process can go on. Both are written before the line is passed on.

    Args:
        path: The file.
        position: The file with the position; None for a copy that always begins anew.
    """

    def __init__(self, path: Path, position: Path | None = None) -> None:
        self.after, size = _read_position(position, path)
        self._path = path
        self._file = _opened(path, is_there=bool(self.after))
        self._size = size
        self._position = position
        self._width = 0
        self._marks: BinaryIO | None = None

    def begin(self, goes_on: bool) -> Iterator[str]:
        """Begins the copy, or goes on with it; yields the lines that it has."""
        if not (goes_on and self.after):
            self._size = 0
        self._file.truncate(self._size)
        self._file.seek(0)
        with open(open_regular(self._path), "rb") as lines:
            for line in lines:
                yield line.removesuffix(b"\n").decode("utf-8", "replace")
        self._file.seek(self._size)

    def add(self, line: str, position: str) -> None:
        """Adds a line."""
        data = (line + "\n").encode("utf-8", "replace")
        self._file.write(data)
        self._size += len(data)
        if self._position is None or not position:
            return
        if self._marks is None:  # not truncated: it says something at every moment
            is_there = self._position.exists()
            self._marks = _opened(self._position, is_there=is_there)
            self._width = self._position.stat().st_size
        text = json.dumps({"version": 1, "bytes": self._size, "position": position})
        self._width = max(self._width, len(text))  # what is overwritten leaves no rest
        self._marks.seek(0)
        self._marks.write(text.ljust(self._width).encode())

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._marks is not None:
            self._marks.close()


def _opened(path: Path, *, is_there: bool) -> BinaryIO:
    flags = os.O_RDWR | (0 if is_there else os.O_CREAT | os.O_TRUNC)
    return open(open_regular(path, flags), "r+b", buffering=0)


def _read_position(path: Path | None, copy: Path) -> tuple[str, int]:
    """Returns the last position in a copy and the copy's bytes up to there, or "" and 0."""
    try:
        data = json.loads(read_regular(path)) if path is not None else {}
        position, size = str(data.get("position", "")), int(data.get("bytes", 0))
        is_there = data.get("version") == 1 and copy.stat().st_size >= size
    except (OSError, RecursionError, ValueError, TypeError, AttributeError):
        return "", 0
    return (position, size) if is_there else ("", 0)


def position_of(log: Path) -> Path:
    """Returns the file that says how far a log goes."""
    return log.with_name(f"{log.name}.position")


@contextmanager
def copied(logs: Logs, observe: Observer) -> Iterator[Observer]:
    """Returns an observer that writes lines to their files, and then passes every event on.

    Args:
        logs: The files, which are truncated first.
        observe: Called with every event.

    Raises:
        OSError: A file cannot be written.
    """
    with ExitStack() as stack:
        yield _keeping(_open(stack, logs, {}), observe)


def _open(
    stack: ExitStack, logs: Logs, positions: Mapping[Path, Path]
) -> Mapping[type[LogLine] | type[MetricLine], _Copy]:
    copies = {}
    for kind, path in logs.items():
        copies[kind] = _Copy(path, positions.get(path))
        stack.callback(copies[kind].close)
    return copies


def _keeping(
    copies: Mapping[type[LogLine] | type[MetricLine], _Copy], observe: Observer
) -> Observer:
    def keep(event: Event) -> None:
        copy = copies.get(type(event)) if isinstance(event, LogLine | MetricLine) else None
        if copy is not None and isinstance(event, LogLine | MetricLine):
            copy.add(event.text, event.position if isinstance(event, LogLine) else "")
        observe(event)
        if isinstance(event, Started):
            for kind, started in copies.items():
                for line in started.begin(event.goes_on):
                    observe(kind(line))

    return keep


class LoggedRunner:
    """Wraps another runner and copies its trials' lines to files; a `runners.base.Runner`.

    Args:
        runner: The other runner, which has the records.
        logs_of: Returns the log files of a job; their folders exist.
        goes_on: Whether the copy of an adopted job's output goes on where the one of an earlier
            process ended; otherwise every copy begins anew.
    """

    def __init__(
        self, runner: Runner, logs_of: Callable[[TrialJob], Logs], goes_on: bool = False
    ) -> None:
        self._runner = runner
        self._logs_of = logs_of
        self._goes_on = goes_on

    def records(self) -> Sequence[Trial]:
        """Returns the other runner's records."""
        return self._runner.records()

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Runs the job on the other runner and writes its lines here."""
        logs = self._logs_of(job)
        output = logs.get(LogLine)
        positions = {output: position_of(output)} if self._goes_on and output is not None else {}
        try:
            with ExitStack() as stack:
                copies = _open(stack, logs, positions)
                after = copies[LogLine].after if output is not None else ""
                keep = _keeping(copies, observe)
                return self._runner.run(replace(job, after=after), keep, stop)
        except OSError as error:
            where = ", ".join(map(str, logs.values()))
            raise RunnerError(f"{where}: {error.strerror or error}") from error

    def record(self, trial: Trial) -> None:
        """Records the trial with the other runner."""
        self._runner.record(trial)

    def sweep(self, keep: Collection[int], reason: str) -> None:
        """Stops jobs of the other runner."""
        self._runner.sweep(keep, reason)

    def close(self) -> None:
        """Closes the other runner."""
        self._runner.close()
