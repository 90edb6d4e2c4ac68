"""Finds the processes that belong to a trial, wherever they are in the tree of processes.

A process belongs to a trial by any of these marks, as a system or a program may remove some:

- its session: a replica's shell leads one, and the shell's pid cannot be another process's while
  the shell holds its lock (`attempt`);
- its environment, which names the trial's folder and which every child inherits. macOS shows
  nobody the environment of its own programs, such as /bin/sh;
- its parents, if its environment cannot be read;
- its open files: every process that was started with a replica's log holds the log's lock.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import psutil

from katibflow.runners.local.attempt import living_shells
from katibflow.runners.local.lock import is_held

__all__ = ["FOLDER_MARK", "REPLICA_MARK", "Census", "Marks", "in_session", "marked", "marks_of"]

FOLDER_MARK = "KATIBFLOW_TRIAL_FOLDER"
"""Variable with the trial's folder, in the environment of every process of the trial."""

REPLICA_MARK = "KATIBFLOW_REPLICA"

_MEMORY = 10.0
"""Seconds for which a session's owner is remembered, while a process of then is still in it.

Systems do not reuse the numbers of a session and of its process so soon, and reading all
environments of a machine at the end of each trial would take more time than all other work there.
"""

_YOUNG = 1.0
"""Seconds in which a process that has just begun may have no environment yet."""

_PASSING = (0.001, 0.002, 0.004, 0.008, 0.016)
"""Pauses in which a process that is just being created closes what it will not inherit."""


class Marks(NamedTuple):
    """The marks of a trial's process: the trial's folder, and the replica's name or ""."""

    folder: str
    replica: str

    def is_below(self, folder: Path) -> bool:
        """Returns whether the trial's folder is this one or lies below it."""
        root = str(folder)
        return self.folder == root or self.folder.startswith(f"{root}/")


class _Owner(NamedTuple):
    """What a session was found to be.

    Attributes:
        since: When it was found, in seconds of the monotonic clock.
        process: A process that was in it.
        marks: The marks of its processes; None if they have none.
    """

    since: float
    process: int
    marks: Marks | None


class Census:
    """Finds the processes of trials, for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: dict[int, _Owner] = {}

    def find(
        self,
        folder: Path,
        sessions: Collection[int] = (),
        places: Collection[Path] | None = None,
    ) -> Mapping[psutil.Process, Marks]:
        """Returns the living processes of the trials in and below a folder, except this process.

        Args:
            folder: A trial's folder, or one above.
            sessions: Sessions that certainly belong to the trial; their processes count too.
            places: The trials' folders whose locks are looked at; by default this one, or all that
                it holds.
        """
        leaders = {pid: Marks(str(folder), "") for pid in sessions}
        leaders |= _leaders(_places(folder) if places is None else places)
        with self._lock:
            found = dict(self._in_sessions(folder, leaders))
        return found or dict(_holders(folder))

    def _in_sessions(
        self, folder: Path, leaders: Mapping[int, Marks]
    ) -> Iterator[tuple[psutil.Process, Marks]]:
        members = _sessions()
        now = time.monotonic()
        self._owners = {
            session: owner
            for session, owner in self._owners.items()
            if now - owner.since < _MEMORY and owner.process in members.get(session, ())
        }
        for session, pids in members.items():
            marks = leaders.get(session)
            if marks is None:
                known = self._owners.get(session)
                if known is not None and not (known.marks and known.marks.is_below(folder)):
                    continue
                marks = self._owner(session, pids, now)
                if marks is None or not marks.is_below(folder):
                    continue
            for process in map(_process, pids):
                # The session is read once the process is certain to be the same one.
                if process is None or _session(process.pid) != session or not _lives(process):
                    continue
                own = marks_of(process)
                yield process, own or marks
                if own is None:
                    yield from ((child, marks) for child in _descendants(process))

    def _owner(self, session: int, pids: Collection[int], now: float) -> Marks | None:
        """Returns the marks of a session's processes, or None if they have none."""
        is_young, oldest = False, 0
        for process in map(_process, pids):
            if process is None:
                continue
            marks = marks_of(process)
            if marks is not None:
                self._owners[session] = _Owner(now, process.pid, marks)
                return marks
            # A process that is just beginning may have no environment yet.
            is_young = is_young or time.time() - process.create_time() < _YOUNG
            oldest = oldest or process.pid
        if not is_young:
            self._owners[session] = _Owner(now, oldest, None)
        return None


def marked(folder: Path) -> dict[int, Marks]:
    """Returns the pids and marks of all trials' living processes in and below a folder."""
    return {process.pid: marks for process, marks in Census().find(folder).items()}


def in_session(session: int) -> tuple[psutil.Process, ...]:
    """Returns the living processes of a session."""
    found = map(_process, _sessions().get(session, ()))
    return tuple(each for each in found if each is not None and _lives(each))


def marks_of(process: psutil.Process) -> Marks | None:
    """Returns the marks in a process's environment, or None if it has none or is unreadable."""
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return None
    folder = environment.get(FOLDER_MARK)
    return Marks(folder, environment.get(REPLICA_MARK, "")) if folder else None


def _places(folder: Path) -> Collection[Path]:
    """Returns a trial's folder, or those of all trials in a folder."""
    return dict.fromkeys([folder, *(path.parent for path in folder.glob("[0-9]*/attempt-*"))])


def _leaders(places: Iterable[Path]) -> dict[int, Marks]:
    """Returns pid to marks of the living shells of trials, by the trials' folders."""
    return {
        pid: Marks(str(place), replica) for place in places for pid, replica in living_shells(place)
    }


def _sessions() -> Mapping[int, list[int]]:
    """Returns the sessions with their processes, except this process's and the kernel's."""
    found: dict[int, list[int]] = {}
    left_out = {None, 0, os.getsid(0)}
    for pid in psutil.pids():
        session = _session(pid)
        if session is not None and session not in left_out:
            found.setdefault(session, []).append(pid)
    return found


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [child for child in process.children(recursive=True) if _lives(child)]
    except psutil.Error:
        return []


def _holders(folder: Path) -> Iterator[tuple[psutil.Process, Marks]]:
    """Yields the processes that hold the lock of a log of the trial whose folder this is."""
    logs = {str(path): path for path in folder.glob("*.log") if is_held(path)}
    for pause in _PASSING:
        if not logs:
            return
        time.sleep(pause)
        logs = {name: path for name, path in logs.items() if is_held(path)}
    if not logs:
        return
    # psutil's own iteration leaves out a process that has the number of one it remembers.
    for process in map(_process, psutil.pids()):
        if process is None or process.pid == os.getpid():
            continue
        try:
            names = logs.keys() & {file.path for file in process.open_files()}
        except (psutil.Error, OSError):
            continue
        if names:
            yield process, Marks(str(folder), logs[min(names)].stem)
