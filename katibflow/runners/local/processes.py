"""Starts and finds the shells around replicas' commands, which outlive this process."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from katibflow.runners.local.attempt import Attempt, alive_file
from katibflow.runners.local.lock import LockWait, held, is_held
from katibflow.runners.local.manifest import Command
from katibflow.runners.local.members import Marks, in_session, marks_of

__all__ = ["TAKEN", "ReplicaProcess", "adopt", "describe_exit", "start"]

TAKEN = 125
"""Exit code of a replica's shell that cannot write its pid, and so runs nothing."""

# Written for any POSIX shell. The script runs nothing if the job was ended before, nor if a later
# process has voided this start (`set -C` lets the second line fail then): a replica must not run
# twice. The traps keep the shell alive through a stop, so that it can write the exit code; the
# command itself gets the default handlers. The shell's standard input is the file whose lock shows
# that the shell lives; the command does not inherit it.
_SHELL = f"""
set -C
base=$1; shift
[ ! -e "${{base%/*}}/end.json" ] || exit {TAKEN}
{{ echo $$ > "$base.pid"; }} 2>/dev/null || exit {TAKEN}
trap : HUP INT TERM
"$@" < /dev/null
code=$?
echo $code > "$base.exit"
exit $code
"""


class ReplicaProcess:
    """The shell around a replica's command, started by this process or an earlier one.

    Args:
        pid: The shell's pid, which is also its session and process group.
        alive: The file whose lock the shell holds; None for shells of the first release.
        child: The handle, if the shell is a child of this process.

    Attributes:
        pid: The shell's pid.
        left: Processes of the session that still ran when a killed shell was reaped.
    """

    def __init__(
        self, pid: int, alive: str | None, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.pid = pid
        self.left: tuple[psutil.Process, ...] = ()
        self._alive = alive
        self._child = child

    def on_end(self, tell: Callable[[], None]) -> None:
        """Calls ``tell`` from another thread once the shell has ended.

        Raises:
            OSError: The file of the lock is gone, or the machine has no room for a thread.
        """
        wait = _Wait(self.pid) if self._alive is None else LockWait(self._alive)

        def wait_and_tell() -> None:
            wait()
            tell()

        threading.Thread(target=wait_and_tell, name=f"shell-{self.pid}", daemon=True).start()

    def exit_code(self) -> int | None:
        """Returns the exit code of a child that has ended, as a shell has it; None if unknown.

        This reaps the child, and another process may get its pid from then on. So the processes
        that are left in its session are found before that.
        """
        if self._child is None:
            return None
        if self._child.returncode is None:
            self.left = in_session(self.pid)
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    @property
    def is_held(self) -> bool:
        """Returns whether the pid certainly is the shell's: not reaped by us, or still running."""
        if self._child is not None:
            return self._child.returncode is None
        return self._alive is not None and is_held(self._alive)

    def close(self) -> None:
        """Ends the rest of a child's process group, and reaps the child."""
        if self._child is None or self._child.returncode is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()


class _Wait:
    """Waits for the end of a process that is no child and holds no lock."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __call__(self) -> None:
        with suppress(psutil.Error):
            psutil.Process(self._pid).wait()


def start(command: Command, program: str, base: str, log: Path) -> ReplicaProcess:
    """Starts a replica in a session of its own.

    Args:
        command: The command.
        program: The file that the command's first word stands for.
        base: The path that the replica's state files begin with.
        log: The file that its output is appended to.

    Raises:
        OSError: The process could not be started, or the log cannot be written.
    """
    alive = alive_file(base)
    with held(alive) as life, held(log) as output:
        child = subprocess.Popen(
            ["/bin/sh", "-c", _SHELL, "sh", base, program, *command.arguments[1:]],
            stdin=life,
            stdout=output,
            stderr=output,
            # A second descriptor, for children that a command starts with another output.
            pass_fds=(output,),
            env=dict(command.environment),
            cwd=command.folder,
            start_new_session=True,
        )
    return ReplicaProcess(child.pid, alive, child)


def adopt(attempt: Attempt, replica: str, trial_folder: Path) -> ReplicaProcess | None:
    """Returns the replica's shell if it still runs, or None otherwise."""
    pid = attempt.pid(replica)
    if not pid:
        return None
    if attempt.has_locks:
        # Only the shell holds the lock, so the pid that it wrote is still its own.
        alive = alive_file(attempt.base(replica))
        return ReplicaProcess(pid, alive) if is_held(alive) else None
    try:
        marks = marks_of(psutil.Process(pid))
    except psutil.Error:
        return None
    return ReplicaProcess(pid, None) if marks == Marks(str(trial_folder), replica) else None


def describe_exit(code: int | None) -> str:
    """Describes an exit code of a shell in words."""
    if code is None:
        return "was killed (its exit code is unknown)"
    if code > 128:
        with suppress(ValueError):
            name = signal.Signals(code - 128).name
            hint = "; probably out of memory" if name == "SIGKILL" else ""
            return f"ended by {name} (exit code {code}{hint})"
    return f"failed with exit code {code}"
