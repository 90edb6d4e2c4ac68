"""The shells around the commands of replicas: started to outlive the tool, and found again."""

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
"""What a replica's shell exits with when it cannot put down its pid, and runs nothing."""

# Written for any POSIX shell. It runs nothing when the job was ended before it came that far, nor
# (`set -C` lets the second line fail then) when a later tool made its start void: a replica must
# not run twice. The traps keep the shell
# alive through a stop, so that it can put down the exit code; the command itself gets the
# default handlers. The shell's own input is the file whose lock tells that it lives; the command
# has no part in it.
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
    """The shell around a replica's command, ours or that of a tool before us.

    Args:
        pid: Its pid, also its session and process group.
        alive: The file whose lock it holds; None for the shell of a release that had no such file.
        child: The handle when it is our own child.

    Attributes:
        pid: As given.
        left: What had not ended in its session when a shell had been killed.
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
            OSError: The file of its lock is gone, or there is no room for a thread.
        """
        wait = _Wait(self.pid) if self._alive is None else LockWait(self._alive)

        def wait_and_tell() -> None:
            wait()
            tell()

        threading.Thread(target=wait_and_tell, name=f"shell-{self.pid}", daemon=True).start()

    def exit_code(self) -> int | None:
        """Returns the exit code as a shell has it, of a child that has ended; None if unknown.

        The child is reaped, and its pid can be another process's from then on. So what is left in
        its session is noted before that.
        """
        if self._child is None:
            return None
        if self._child.returncode is None:
            self.left = in_session(self.pid)
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    @property
    def is_held(self) -> bool:
        """Whether the pid is sure to be this process's: not reaped by us, or still running."""
        if self._child is not None:
            return self._child.returncode is None
        return self._alive is not None and is_held(self._alive)

    def close(self) -> None:
        """Ends what is left of a child's process group, and reaps it."""
        if self._child is None or self._child.returncode is not None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()


class _Wait:
    """A wait for the end of a process that is no child and holds no lock."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __call__(self) -> None:
        with suppress(psutil.Error):
            psutil.Process(self._pid).wait()


def start(command: Command, program: str, base: str, log: Path) -> ReplicaProcess:
    """Starts a replica in a session of its own.

    Args:
        command: What to run.
        program: The file that the command's first word stands for.
        base: The path that the replica's state files begin with.
        log: Where its output is appended to.

    Raises:
        OSError: No process could be made, or the log cannot be written.
    """
    alive = alive_file(base)
    with held(alive) as life, held(log) as output:
        child = subprocess.Popen(
            ["/bin/sh", "-c", _SHELL, "sh", base, program, *command.arguments[1:]],
            stdin=life,
            stdout=output,
            stderr=output,
            # Once more, for what a command starts with its output elsewhere.
            pass_fds=(output,),
            env=dict(command.environment),
            cwd=command.folder,
            start_new_session=True,
        )
    return ReplicaProcess(child.pid, alive, child)


def adopt(attempt: Attempt, replica: str, trial_folder: Path) -> ReplicaProcess | None:
    """Returns the replica's shell if it still runs; None otherwise."""
    pid = attempt.pid(replica)
    if not pid:
        return None
    if attempt.has_locks:
        # Nobody else holds the lock, so that the pid it wrote is still its own.
        alive = alive_file(attempt.base(replica))
        return ReplicaProcess(pid, alive) if is_held(alive) else None
    try:
        marks = marks_of(psutil.Process(pid))
    except psutil.Error:
        return None
    return ReplicaProcess(pid, None) if marks == Marks(str(trial_folder), replica) else None


def describe_exit(code: int | None) -> str:
    """An exit code in words, as a shell has it."""
    if code is None:
        return "was killed (its exit code is unknown)"
    if code > 128:
        with suppress(ValueError):
            name = signal.Signals(code - 128).name
            hint = "; probably out of memory" if name == "SIGKILL" else ""
            return f"ended by {name} (exit code {code}{hint})"
    return f"failed with exit code {code}"
