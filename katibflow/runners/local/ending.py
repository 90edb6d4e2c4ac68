"""Ends all processes of a trial, and finds the ones that escaped its sessions."""

from __future__ import annotations

import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import psutil

from katibflow.errors import RunnerError
from katibflow.runners.local.members import Census

__all__ = ["KILL_GRACE", "end_all"]

KILL_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

_FIRST_LOOK = 0.1
"""Seconds after the first SIGTERM until the processes are searched again."""

_GONE_LIMIT = 10.0
"""Seconds that a killed process may take to end; one that hangs in the kernel takes longer."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.02
"""Seconds between two tests of processes that should end. Not every system reports the end of
a process that is no child, and waiting for a child would take its exit status from its owner."""


def end_all(
    folder: Path,
    grace: float,
    sessions: Collection[int] = (),
    left: Collection[psutil.Process] = (),
    census: Census | None = None,
) -> None:
    """Ends every process of the trials below ``folder`` and waits until they are gone.

    Args:
        folder: A trial's folder, or one above.
        grace: Seconds from SIGTERM to SIGKILL; 0 for SIGKILL at once.
        sessions: Sessions whose processes are ended too. Their leaders must not be reaped yet, as
            another process could have their pids then.
        left: Further processes to end.
        census: Finds the processes; a new census by default.

    Raises:
        RunnerError: Some processes could not be ended.
    """
    targets = _Targets(folder, sessions, left, census or Census())
    if grace > 0:
        # Looked for again, at growing intervals, as a process may have been about to start
        # another one when it got the signal.
        deadline, pause = time.monotonic() + grace, _FIRST_LOOK
        while targets.send(signal.SIGTERM) and (time_left := deadline - time.monotonic()) > 0:
            targets.wait(min(pause, time_left))
            pause *= 2
        if not targets:
            return
    deadline = time.monotonic() + _GONE_LIMIT
    while targets.send(signal.SIGKILL, again=True):
        targets.wait(deadline - time.monotonic())
        if time.monotonic() > deadline:
            left_over = ", ".join(str(process.pid) for process in targets)
            raise RunnerError(f"{folder}: the processes {left_over} cannot be ended")


class _Targets(dict[psutil.Process, list[str]]):
    """The living processes to end, each with the program that it ran at its last signal."""

    def __init__(
        self,
        folder: Path,
        sessions: Collection[int],
        left: Collection[psutil.Process],
        census: Census,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._sessions = sessions
        self._left = left
        self._census = census

    def send(self, number: signal.Signals, again: bool = False) -> bool:
        """Finds the processes and signals the new ones, or all; returns whether there are any.

        A process that has become another program since its signal counts as new: between fork and
        exec it had its parent's handlers, and a shell's child drops a signal then.
        """
        for process in list(self):
            if again or _program(process) != self[process]:
                self._signal(process, number)
        for process in (*self._left, *self._census.find(self._folder, self._sessions)):
            if process not in self and not _is_over(process):
                self._signal(process, number)
        return bool(self)

    def _signal(self, process: psutil.Process, number: signal.Signals) -> None:
        self[process] = _program(process)
        with suppress(psutil.Error):
            process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Waits until all processes have ended, or the time is over."""
        deadline, pause = time.monotonic() + seconds, _SHORTEST_PAUSE
        while True:
            for process in [process for process in self if _is_over(process)]:
                del self[process]
            left = deadline - time.monotonic()
            if not self or left <= 0:
                return
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)


def _program(process: psutil.Process) -> list[str]:
    """Returns the arguments of a process, or None once it is gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _is_over(process: psutil.Process) -> bool:
    """Returns whether the process has ended, reaped or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
