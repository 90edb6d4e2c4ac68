"""A trial's folder: its record, its job's state, and the locks that keep two tools apart.

``record.json`` is the trial (history.trial_to_data), durable once written; while the trial runs,
its start is that of the latest attempt. ``manifest.yaml`` is the rendered manifest. ``attempt-N/``
belongs to the N-th time the job was created, and only the highest counts::

    job.json          name, manifest (SHA-256 of it), port, boot (the kernel's boot id),
                      created (seconds of CLOCK_MONOTONIC, which all processes share), start (the
                      same moment as the history has times)
    end.json          state, reason, message: how the job ended, once something else than the
                      replicas' exit codes decides it; written before a process is stopped
    <replica>.pid     pid of the replica's shell, written by itself before anything runs; 0 once a
                      later tool has made sure that this shell never will: the replica's next start
                      has <replica>.again-1.pid and .exit, and so on
    <replica>.exit    exit code, as a shell has it (128 + signal)

The last two count only when they end in a newline: a kill may leave them empty.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from katibflow.errors import HistoryError, RunBusy, RunnerError
from katibflow.runners.base import JobOutcome, JobState
from katibflow.study.files import make_folder, sync_folder, write_atomically
from katibflow.study.history import Trial, time_text, trial_from_data, trial_to_data

__all__ = [
    "Attempt",
    "RunLock",
    "TrialFolder",
    "boot_id",
    "digest",
    "trial_folders",
    "unwritable",
]

_DYING_LIMIT = 1.0
"""Seconds to wait for a lock: a process that was just killed has it until it is gone."""

_VOID = 0

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """Turns an OSError at work on ``path`` into a RunnerError that names it."""
    try:
        yield
    except OSError as error:
        raise RunnerError(f"{error.filename or path}: {error.strerror or error}") from error


class RunLock:
    """Keeps a run's folder to one process, as a context manager.

    Args:
        folder: The run's folder; it is made when absent.

    Raises:
        RunBusy: On entering: another process has it; its pid is named.
        RunnerError: On entering: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._descriptor: int | None = None

    def __enter__(self) -> RunLock:
        with unwritable(self._path):
            make_folder(self._path.parent)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._acquire(descriptor)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor = descriptor
        return self

    def _acquire(self, descriptor: int) -> None:
        deadline = time.monotonic() + _DYING_LIMIT
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            left = deadline - time.monotonic()
            if left <= 0 or holder == str(os.getpid()):
                raise RunBusy(
                    f"{self._path.parent}: in use by process {holder or 'unknown'}; "
                    "wait for its end, or stop it"
                ) from None
            _wait_for_end(holder, left)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _wait_for_end(pid: str, seconds: float) -> None:
    try:
        pidfd = os.pidfd_open(int(pid))
    except (OSError, ValueError):
        pass
    else:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.poll(seconds * 1000)
        os.close(pidfd)
    # A child that it was just making has the lock up to its exec, for a moment.
    time.sleep(min(seconds, 0.01))


@dataclass(frozen=True)
class Attempt:
    """One creation of a trial's job; fields as in ``job.json``, and its folder."""

    folder: Path
    name: str
    manifest: str
    port: int
    boot: str
    created: float
    metrics_port: int = 0
    start: str = ""

    def end(self) -> JobOutcome | None:
        """How it ended, when something else than exit codes decided it."""
        data = _read_json(self.folder / "end.json")
        try:
            return JobOutcome(JobState(data["state"]), str(data["reason"]), str(data["message"]))
        except (KeyError, ValueError):
            return None

    def write_end(self, outcome: JobOutcome) -> None:
        """Puts down how it ends."""
        write_atomically(
            self.folder / "end.json",
            _json({"state": outcome.state, "reason": outcome.reason, "message": outcome.message}),
        )

    def base(self, replica: str) -> str:
        """The path that the files of a replica's latest start begin with."""
        plain = f"{self.folder}/{replica}"
        base, number = plain, 0
        while _read_number(f"{base}.pid") == _VOID:
            number += 1
            base = f"{plain}.again-{number}"
        return base

    def pid(self, replica: str) -> int | None:
        """The replica's pid as its shell wrote it."""
        return _read_number(f"{self.base(replica)}.pid")

    def exit_code(self, replica: str) -> int | None:
        """The replica's exit code as its shell wrote it."""
        return _read_number(f"{self.base(replica)}.exit")

    def exit_time(self, replica: str) -> int:
        """When the exit code was written, nanoseconds since the epoch; a huge number if never."""
        try:
            return os.stat(f"{self.base(replica)}.exit").st_mtime_ns
        except OSError:
            return 2**63

    def void(self, replica: str, is_dead: bool = False) -> bool:
        """Makes sure that a shell which has not begun never will; says whether that is so.

        A tool that is killed may leave one that is just being made, and that nobody can see yet.

        Args:
            replica: Whose shell.
            is_dead: The shell is known to have died before it put down its pid.
        """
        exclusive = 0 if is_dead else os.O_EXCL
        try:
            descriptor = os.open(
                f"{self.base(replica)}.pid", os.O_WRONLY | os.O_CREAT | exclusive | os.O_CLOEXEC
            )
        except FileExistsError:
            return False
        try:
            os.write(descriptor, f"{_VOID}\n".encode())
        finally:
            os.close(descriptor)
        return True

    @property
    def is_of_this_boot(self) -> bool:
        """Whether its processes can still run."""
        return self.boot == boot_id()


class TrialFolder:
    """One trial's folder.

    Args:
        path: Absolute; made when it is first written to.
        number: The trial's number.
    """

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.number = number

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps the trial to one caller of all processes.

        Raises:
            RunBusy: Somebody else has it.
        """
        self._make()
        with RunLock(self.path):
            yield

    def _make(self) -> None:
        """Makes the folder; its name is on disk once the first record is."""
        with unwritable(self.path):
            make_folder(self.path.parent)
            self.path.mkdir(exist_ok=True)

    def log(self, replica: str) -> Path:
        """Where a replica's output goes."""
        return self.path / f"{replica}.log"

    def read_record(self) -> Trial | None:
        """The trial on record; None when there is none.

        Raises:
            RunnerError: The record is damaged.
        """
        path = self.path / "record.json"
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise RunnerError(f"{path}: cannot be read: {error}; {self._way_out}") from error
        try:
            data = json.loads(text)
            if not isinstance(data, dict):
                raise HistoryError("not a JSON object")
            trial = trial_from_data(data)
        except (json.JSONDecodeError, HistoryError) as error:
            raise RunnerError(f"{path}: not a trial's record: {error}; {self._way_out}") from error
        if trial.number != self.number:
            raise RunnerError(f"{path}: is the record of trial {trial.number}; {self._way_out}")
        return trial if trial.state.is_finished else self._with_start(trial)

    def _with_start(self, trial: Trial) -> Trial:
        """A running trial with its job's start; without one when the job is to be created anew."""
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
        """Puts the trial on record, durable when it returns; nothing happens if it is there."""
        path = self.path / "record.json"
        text = _json(trial_to_data(trial))
        self._make()
        with unwritable(path):
            is_first = not path.exists()
            if not is_first and path.read_bytes() == text:
                return
            write_atomically(path, text, durable=True)
            if is_first:
                # Last, when the journal has it already and there is nothing to wait for.
                sync_folder(self.path.parent)

    @property
    def has_attempts(self) -> bool:
        """Whether the job was ever created, or about to be."""
        return bool(self._attempts())

    def attempt(self) -> Attempt | None:
        """The latest attempt; None when there is none that can be read."""
        numbers = self._attempts()
        if not numbers:
            return None
        folder = self.path / f"attempt-{numbers[-1]}"
        data = _read_json(folder / "job.json")
        try:
            # that of an earlier release has no start
            start = data.get("start") or _written(folder / "job.json")
            return Attempt(
                folder,
                str(data["name"]),
                str(data["manifest"]),
                int(data["port"]),
                str(data["boot"]),
                float(data["created"]),
                int(data.get("metrics_port", 0)),
                str(start),
            )
        except (KeyError, OSError, TypeError, ValueError):
            return None

    @property
    def checkpoints(self) -> Path:
        """The trial's checkpoint folder, if it has one."""
        return self.path / "checkpoints"

    def renew_checkpoints(self, source: Path | None) -> None:
        """Makes the checkpoint folder anew: empty, or a copy of another one.

        Raises:
            RunnerError: It cannot be written.
        """
        draft = self.path / ".checkpoints.draft"
        with unwritable(self.path):
            for old in (draft, self.checkpoints):
                if old.exists():
                    shutil.rmtree(old)
            if source is None:
                draft.mkdir(parents=True)
            else:
                shutil.copytree(source, draft, symlinks=True)
            draft.rename(self.checkpoints)

    def new_attempt(
        self, name: str, manifest: Mapping[str, Any], port: int, metrics_port: int = 0
    ) -> Attempt:
        """A new attempt; what was there of earlier ones goes, save their logs.

        Raises:
            RunnerError: The folder cannot be written.
        """
        with unwritable(self.path):
            numbers = self._attempts()
            latest = numbers[-1] if numbers else 0
            folder = self.path / f"attempt-{latest + 1}"
            folder.mkdir(parents=True)
            for number in numbers:
                # A shell of the old attempt that has not begun yet finds no folder and gives up.
                shutil.rmtree(self.path / f"attempt-{number}", ignore_errors=True)
            if numbers:
                for log in self.path.glob("*-[0-9]*.log"):
                    if ".attempt-" not in log.name:
                        log.rename(log.with_suffix(f".attempt-{latest}.log"))
            for leftover in self.path.glob(".*.tmp"):
                leftover.unlink(missing_ok=True)
            text = yaml.dump(
                dict(manifest), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True
            )
            write_atomically(self.path / "manifest.yaml", text.encode())
            created = round(time.monotonic(), 3)
            start = time_text(datetime.now(UTC))
            attempt = Attempt(
                folder, name, digest(manifest), port, boot_id(), created, metrics_port, start
            )
            data = asdict(attempt)
            del data["folder"]
            write_atomically(folder / "job.json", _json(data))
            return attempt

    def _attempts(self) -> list[int]:
        try:
            names = os.listdir(self.path)
        except FileNotFoundError:
            return []
        numbers = (name.removeprefix("attempt-") for name in names if name.startswith("attempt-"))
        return sorted(int(number) for number in numbers if number.isdigit())


def trial_folders(folder: Path) -> list[TrialFolder]:
    """The folders of the trials below ``<folder>``, by ascending number; others are passed over.

    Raises:
        RunnerError: The folder cannot be read.
    """
    with unwritable(folder):
        try:
            names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
        except FileNotFoundError:
            return []
    numbers = {int(name): name for name in names if name.isascii() and name.isdigit()}
    return [TrialFolder(folder / numbers[number], number) for number in sorted(numbers)]


def digest(manifest: Mapping[str, Any]) -> str:
    """A manifest's fingerprint: the SHA-256 of its JSON."""
    text = json.dumps(manifest, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def boot_id() -> str:
    """The kernel's id of this boot; empty when it has none."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _json(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _written(path: Path) -> str:
    return time_text(datetime.fromtimestamp(path.stat().st_mtime, UTC))


def _read_number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    return int(text) if text.endswith("\n") and text.strip().isdigit() else None
