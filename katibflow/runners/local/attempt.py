"""The state on disk of one creation of a trial's job, in the folder ``attempt-N/``.

The files, with the version of their format where they are JSON::

    job.json          name, manifest (its SHA-256), port, metrics_port, created (seconds of
                      time.monotonic, which all processes of a machine share), start (the same
                      moment as the history has times). Version 1 had the kernel's boot id too, and
                      no <replica>.alive beside it
    end.json          state, reason, message: the job's end, if something else than the replicas'
                      exit codes decides it; written before a process is stopped
    gpus              the trial's GPUs, by commas; absent if it has none
    <replica>.alive   empty; only the replica's shell holds its lock
    <replica>.pid     pid of the replica's shell; the shell writes it before it runs anything. 0
                      once a later process has prevented this shell from running anything: the
                      replica's next start has <replica>.again-1.pid, .alive and .exit, and so on
    <replica>.exit    exit code, as a shell has it (128 + signal)

A number is valid only if it ends in a newline, as a kill may leave the files empty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from katibflow.runners.base import JobOutcome, JobState
from katibflow.runners.local.lock import is_held
from katibflow.runners.local.state_files import (
    VERSION_KEY,
    read_number,
    read_state,
    to_json,
)
from katibflow.study.files import open_regular, read_regular, write_atomically
from katibflow.study.history import time_text

__all__ = [
    "ATTEMPT_VERSION",
    "END_VERSION",
    "Attempt",
    "alive_file",
    "living_shells",
    "read_attempt",
    "write_attempt",
]

ATTEMPT_VERSION = 2
"""The version of ``job.json`` and of the other files beside it."""

END_VERSION = 2
"""The version of ``end.json``; files of the first version did not carry it."""

_VOID = 0
_JOB = "job.json"
_END = "end.json"
_GPUS = "gpus"
_ALIVE = ".alive"


def alive_file(base: str) -> str:
    """Returns the path of the file whose lock a replica's shell holds, by `Attempt.base`."""
    return f"{base}{_ALIVE}"


@dataclass(frozen=True)
class Attempt:
    """One creation of a trial's job: the fields of ``job.json``, and the folder."""

    folder: Path
    name: str
    manifest: str
    port: int
    created: float
    metrics_port: int
    start: str
    version: int = ATTEMPT_VERSION

    @property
    def has_locks(self) -> bool:
        """Returns whether the shells hold locks; those of version 1 do not."""
        return self.version > 1

    def end(self) -> JobOutcome | None:
        """Returns the job's end, if something else than exit codes decided it.

        Raises:
            RunnerError: The file has a version that this release does not read.
        """
        data = read_state(self.folder / _END, END_VERSION)
        try:
            return JobOutcome(JobState(data["state"]), str(data["reason"]), str(data["message"]))
        except (KeyError, ValueError):
            return None

    def write_end(self, outcome: JobOutcome) -> None:
        """Writes the job's end."""
        write_atomically(
            self.folder / _END,
            to_json(
                {"state": outcome.state, "reason": outcome.reason, "message": outcome.message},
                END_VERSION,
            ),
        )

    @property
    def gpus(self) -> tuple[str, ...]:
        """Returns what names the trial's GPUs; nothing if it has none."""
        try:
            text = read_regular(self.folder / _GPUS).decode()
        except (OSError, UnicodeDecodeError):
            return ()
        return tuple(text.strip().split(",")) if text.endswith("\n") else ()

    def write_gpus(self, ids: Sequence[str]) -> None:
        """Writes which GPUs the trial has, before a process of it starts."""
        write_atomically(self.folder / _GPUS, f"{','.join(ids)}\n".encode())

    def base(self, replica: str) -> str:
        """Returns the path that the files of a replica's latest start begin with."""
        plain = f"{self.folder}/{replica}"
        base, number = plain, 0
        while read_number(f"{base}.pid") == _VOID:
            number += 1
            base = f"{plain}.again-{number}"
        return base

    def pid(self, replica: str) -> int | None:
        """Returns the replica's pid as its shell wrote it."""
        return read_number(f"{self.base(replica)}.pid")

    def exit_code(self, replica: str) -> int | None:
        """Returns the replica's exit code as its shell wrote it."""
        return read_number(f"{self.base(replica)}.exit")

    def has_exit_code(self) -> bool:
        """Returns whether a replica has run to its end by itself, by what its shell wrote."""
        files = self.folder.glob("*.exit")
        return any(read_number(str(file)) is not None for file in files)

    def exit_time(self, replica: str) -> int:
        """Returns the time of the exit code, in nanoseconds since the epoch; 2**63 without one."""
        try:
            return os.stat(f"{self.base(replica)}.exit").st_mtime_ns
        except OSError:
            return 2**63

    def void(self, replica: str, is_dead: bool = False) -> bool:
        """Prevents a shell that has not begun from running anything; returns whether it did.

        A process that was killed may have left a shell that is just being created and that nobody
        can see yet.

        Args:
            replica: The replica's name.
            is_dead: Whether the shell is known to have died before it wrote its pid.
        """
        exclusive = 0 if is_dead else os.O_EXCL
        try:
            descriptor = open_regular(
                f"{self.base(replica)}.pid", os.O_WRONLY | os.O_CREAT | exclusive
            )
        except FileExistsError:
            return False
        try:
            os.write(descriptor, f"{_VOID}\n".encode())
        finally:
            os.close(descriptor)
        return True

    def shell_lives(self, replica: str) -> bool:
        """Returns whether the shell of the replica's latest start holds its lock, if it has one."""
        return is_held(alive_file(self.base(replica)))


def read_attempt(folder: Path) -> Attempt | None:
    """Returns the attempt of a folder, or None if a kill left no readable one.

    Raises:
        RunnerError: The attempt has a version that this release does not read.
    """
    path = folder / _JOB
    data = read_state(path, ATTEMPT_VERSION)
    try:
        # that of an earlier release has no start
        start = data.get("start") or _written(path)
        return Attempt(
            folder,
            str(data["name"]),
            str(data["manifest"]),
            int(data["port"]),
            float(data["created"]),
            int(data.get("metrics_port", 0)),
            str(start),
            int(data[VERSION_KEY]),
        )
    except (KeyError, OSError, TypeError, ValueError):
        return None


def write_attempt(attempt: Attempt) -> None:
    """Writes an attempt to its folder."""
    data = {key: value for key, value in vars(attempt).items() if key not in ("folder", "version")}
    write_atomically(attempt.folder / _JOB, to_json(data, attempt.version))


def living_shells(trial_folder: Path) -> Iterator[tuple[int, str]]:
    """Yields pid and replica of the shells of a trial that hold their locks."""
    for folder in _entries(trial_folder):
        for file in _entries(folder) if folder.name.startswith("attempt-") else ():
            if file.name.endswith(_ALIVE) and is_held(file.path):
                pid = read_number(f"{file.path.removesuffix(_ALIVE)}.pid")
                if pid:
                    yield pid, file.name.removesuffix(_ALIVE).partition(".again-")[0]


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """Returns what is in a folder; nothing if it is none."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _written(path: Path) -> str:
    return time_text(datetime.fromtimestamp(path.stat().st_mtime, UTC))
