"""The folder of one trial: its record, its logs, and the attempts to run its job.

``record.json`` is the trial (`study.history.trial_to_data`) with the version of this file, durable
once written; while the trial runs, its start is that of the latest attempt. ``manifest.yaml`` is
the rendered manifest. ``<replica>.log`` is a replica's output; its lock is held by every process
that was started with it, so that it is complete once nobody holds it. ``attempt-N/`` belongs to
the N-th time the job was created, and only the highest counts (`attempt`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from katibflow.errors import HistoryError, RunnerError
from katibflow.runners.base import JobState
from katibflow.runners.local.attempt import Attempt, read_attempt, write_attempt
from katibflow.runners.local.lock import RunLock, is_held
from katibflow.runners.local.state_files import (
    VERSION_KEY,
    check_version,
    to_json,
    unwritable,
)
from katibflow.study.files import make_folder, read_regular, sync_folder, write_atomically
from katibflow.study.history import MOST_TRIALS, Trial, time_text, trial_from_data, trial_to_data

__all__ = ["RECORD", "RECORD_VERSION", "TrialFolder", "digest", "trial_folders"]

RECORD_VERSION = 2
"""The version of ``record.json``; files of the first version did not carry it."""

RECORD = "record.json"
"""The name of a trial's record in its folder."""

_LONGEST_NAME = len(str(MOST_TRIALS))


class TrialFolder:
    """Reads and writes one trial's folder.

    Args:
        path: Absolute path; the folder is created by the first write.
        number: The trial's number.
    """

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.number = number

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the trial for one caller among all processes.

        Raises:
            RunBusy: Another caller has the lock.
        """
        self._make()
        with RunLock(self.path):
            yield

    def _make(self) -> None:
        """Makes the folder; its name is durable only once the record of the trial's end is."""
        with unwritable(self.path):
            make_folder(self.path.parent)
            self.path.mkdir(mode=0o700, exist_ok=True)
            if self.path.is_symlink():
                raise OSError(None, "is a link; allowed: a folder", str(self.path))

    def log(self, replica: str) -> Path:
        """Returns the log file of a replica's output."""
        return self.path / f"{replica}.log"

    @property
    def is_in_use(self) -> bool:
        """Returns whether a process that was started with one of the logs is left."""
        return any(is_held(log) for log in self.path.glob("*.log"))

    def read_record(self) -> Trial | None:
        """Returns the trial on record, or None if there is no record.

        Raises:
            RunnerError: The record is damaged, or has a version that this release does not read.
        """
        path = self.path / RECORD
        try:
            text = read_regular(path).decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise RunnerError(f"{path}: cannot be read: {why}; {self._way_out}") from error
        try:
            data = json.loads(text)
            if not isinstance(data, dict):
                raise HistoryError("not a JSON object")
            check_version(data, path, RECORD_VERSION)
            trial = trial_from_data(
                {key: value for key, value in data.items() if key != VERSION_KEY}
            )
        except (RecursionError, ValueError, HistoryError) as error:
            raise RunnerError(f"{path}: not a trial's record: {error}; {self._way_out}") from error
        if trial.number != self.number:
            raise RunnerError(f"{path}: is the record of trial {trial.number}; {self._way_out}")
        return trial if trial.state.is_finished else self._with_start(trial)

    def _with_start(self, trial: Trial) -> Trial:
        """Returns a running trial with its job's start; without one if the job was stopped."""
        attempt = self.attempt()
        if attempt is None:
            return trial
        end = attempt.end()
        if end is not None and end.state is JobState.STOPPED:
            return replace(trial, start=None)
        return trial.started(attempt.start)

    @property
    def _way_out(self) -> str:
        return f"delete the folder {self.path} to run the trial again"

    def write_record(self, trial: Trial) -> None:
        """Writes the trial's record; does nothing if it is unchanged.

        The record of a trial that has ended is durable when this returns. That of a running one
        outlives this process, whatever ends it; a machine that loses its power ends the trial too.
        """
        path = self.path / RECORD
        text = to_json(trial_to_data(trial), RECORD_VERSION)
        self._make()
        durable = trial.state.is_finished
        with unwritable(path):
            if path.exists() and not path.is_symlink() and read_regular(path) == text:
                return
            write_atomically(path, text, durable=durable, whole=True)
            if durable:
                # It is synced last, when the journal has it already and nothing is left to write.
                sync_folder(self.path.parent)

    @property
    def has_attempts(self) -> bool:
        """Returns whether the job was created, or was about to be."""
        return bool(_attempts(self._names()))

    def attempt(self) -> Attempt | None:
        """Returns the latest attempt, or None if no readable one exists.

        Raises:
            RunnerError: The attempt has a version that this release does not read.
        """
        numbers = _attempts(self._names())
        return read_attempt(self.path / f"attempt-{numbers[-1]}") if numbers else None

    @property
    def checkpoints(self) -> Path:
        """Returns the trial's checkpoint folder, if it has one."""
        return self.path / "checkpoints"

    def renew_checkpoints(self, source: Path | None) -> None:
        """Creates the checkpoint folder anew: empty, or as a copy of another one.

        Raises:
            RunnerError: The folder cannot be written.
        """
        draft = self.path / ".checkpoints.draft"
        with unwritable(self.path):
            for old in (draft, self.checkpoints):
                if old.exists():
                    shutil.rmtree(old)
            if source is None:
                draft.mkdir(mode=0o700, parents=True)
            else:
                shutil.copytree(source, draft, symlinks=True)
            draft.rename(self.checkpoints)

    def new_attempt(
        self, name: str, manifest: Mapping[str, Any], port: int, metrics_port: int = 0
    ) -> Attempt:
        """Creates a new attempt, and deletes the files of earlier ones except their logs.

        Raises:
            RunnerError: The folder cannot be written.
        """
        with unwritable(self.path):
            names = self._names()
            numbers = _attempts(names)
            latest = numbers[-1] if numbers else 0
            folder = self.path / f"attempt-{latest + 1}"
            folder.mkdir(mode=0o700, parents=True)
            for number in numbers:
                # A shell of the old attempt that has not begun yet finds no folder and gives up.
                shutil.rmtree(self.path / f"attempt-{number}", ignore_errors=True)
            if numbers:
                for log in self.path.glob("*-[0-9]*.log"):
                    if ".attempt-" not in log.name:
                        log.rename(log.with_suffix(f".attempt-{latest}.log"))
            for each in names:
                if each.startswith(".") and each.endswith(".tmp"):
                    (self.path / each).unlink(missing_ok=True)
            text = yaml.dump(
                dict(manifest), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True
            )
            write_atomically(self.path / "manifest.yaml", text.encode())
            created = round(time.monotonic(), 3)
            start = time_text(datetime.now(UTC))
            attempt = Attempt(folder, name, digest(manifest), port, created, metrics_port, start)
            write_attempt(attempt)
            return attempt

    def _names(self) -> Sequence[str]:
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return ()


def _attempts(names: Iterable[str]) -> list[int]:
    """Returns the numbers of the attempts among the names in a trial's folder, in order."""
    numbers = (name.removeprefix("attempt-") for name in names if name.startswith("attempt-"))
    return sorted(int(number) for number in numbers if number.isdigit() and len(number) < 20)


def trial_folders(
    folder: Path, is_wanted: Callable[[int, str], bool] = lambda number, path: True
) -> list[TrialFolder]:
    """Returns the folders of the trials below ``<folder>`` by number; others are ignored.

    Args:
        folder: The folder of all trials.
        is_wanted: Returns whether a folder is wanted, by the trial's number and the folder's path;
            all are by default. A run may have many thousands.

    Raises:
        RunnerError: The folder cannot be read.
    """
    with unwritable(folder):
        try:
            names = [each.name for each in os.scandir(folder) if each.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
    numbers = {
        int(name): name
        for name in names
        if name.isascii() and name.isdigit() and len(name) <= _LONGEST_NAME
    }
    return [
        TrialFolder(folder / numbers[number], number)
        for number in sorted(numbers)
        if is_wanted(number, f"{folder}/{numbers[number]}")
    ]


def digest(manifest: Mapping[str, Any]) -> str:
    """Returns a manifest's fingerprint: the SHA-256 of its JSON."""
    text = json.dumps(manifest, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
