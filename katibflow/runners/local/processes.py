"""Processes of a trial: started so that they outlive the tool, found again, and ended for good."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from katibflow.errors import RunnerError
from katibflow.runners.local.manifest import Command
from katibflow.runners.local.trial_folder import Attempt

__all__ = [
    "FOLDER_MARK",
    "KILL_GRACE",
    "REPLICA_MARK",
    "TAKEN",
    "ReplicaProcess",
    "adopt",
    "describe_exit",
    "end_all",
    "listener_of",
    "marked",
    "never_connected",
    "start",
]

FOLDER_MARK = "KATIBFLOW_TRIAL_FOLDER"
"""Holds the trial's folder, in the environment of every process of the trial."""

REPLICA_MARK = "KATIBFLOW_REPLICA"

KILL_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

_FIRST_LOOK = 0.1
"""Seconds after the first SIGTERM until processes are looked for again."""

_GONE_LIMIT = 10.0
"""Seconds that a killed process may take to be gone; one that hangs in the kernel takes longer."""

TAKEN = 125
"""What a replica's shell exits with when it cannot put down its pid, and runs nothing."""

# Written for any POSIX shell. It runs nothing when the job was ended before it came that far, nor
# (`set -C` lets the second line fail then) when a later tool made its start void: a replica must
# not run twice. The traps keep the shell
# alive through a stop, so that it can put down the exit code; the command itself gets the
# default handlers.
_SHELL = f"""
set -C
base=$1; shift
[ ! -e "${{base%/*}}/end.json" ] || exit {TAKEN}
{{ echo $$ > "$base.pid"; }} 2>/dev/null || exit {TAKEN}
trap : HUP INT TERM
"$@"
code=$?
echo $code > "$base.exit"
exit $code
"""


@dataclass
class ReplicaProcess:
    """The shell around a replica's command, ours or that of a tool before us.

    Attributes:
        pid: Its pid, also its session and process group.
        pidfd: Readable once it has ended.
        child: The handle when it is our own child.
    """

    pid: int
    pidfd: int
    child: subprocess.Popen[bytes] | None

    def exit_code(self) -> int | None:
        """The exit code as a shell has it, of a child that has ended; None if unknown.

        The child is not reaped: until it is, its pid, and so its process group, is nobody else's.
        """
        if self.child is None:
            return None
        info = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if info is None:
            return None
        return info.si_status if info.si_code == os.CLD_EXITED else 128 + info.si_status

    @property
    def is_held(self) -> bool:
        """Whether the pid is sure to be this process's: not reaped by us, or still running."""
        return self.child is not None or not _is_over(self.pidfd)

    def close(self) -> None:
        """Ends what is left of a child's process group, and lets go of it."""
        if self.child is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            self.child.wait()
        os.close(self.pidfd)


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
    with log.open("ab", buffering=0) as output:
        child = subprocess.Popen(
            ["/bin/sh", "-c", _SHELL, "sh", base, program, *command.arguments[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(command.environment),
            cwd=command.folder,
            start_new_session=True,
        )
    try:
        return ReplicaProcess(child.pid, os.pidfd_open(child.pid), child)
    except OSError:
        child.kill()
        child.wait()
        raise


def adopt(attempt: Attempt, replica: str, trial_folder: Path) -> ReplicaProcess | None:
    """The replica's shell if it still runs; None otherwise."""
    pid = attempt.pid(replica)
    if pid is None or not attempt.is_of_this_boot:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError, OSError):
        return None
    # Checked after the pidfd was opened: from then on the pid cannot become another process's.
    marks = _marks(pid)
    if marks is not None and marks == (str(trial_folder), replica):
        return ReplicaProcess(pid, pidfd, None)
    os.close(pidfd)
    return None


def _marks(pid: int) -> tuple[str, str] | None:
    """A process's trial folder and replica; None when it belongs to no trial, or cannot be read."""
    try:
        descriptor = os.open(f"/proc/{pid}/environ", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = os.read(descriptor, 131_072)
        while more := os.read(descriptor, 131_072):
            data += more
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if _FOLDER_KEY not in data:
        return None
    folder = replica = b""
    for entry in data.split(b"\0"):
        if entry.startswith(_FOLDER_KEY):
            folder = entry[len(_FOLDER_KEY) :]
        elif entry.startswith(_REPLICA_KEY):
            replica = entry[len(_REPLICA_KEY) :]
    return (os.fsdecode(folder), os.fsdecode(replica)) if folder else None


_FOLDER_KEY = f"{FOLDER_MARK}=".encode()
_REPLICA_KEY = f"{REPLICA_MARK}=".encode()


def marked(folder: Path) -> dict[int, tuple[str, str]]:
    """The living processes of all trials below ``folder``: pid to trial folder and replica.

    Found by what stands in their environment, wherever they are in the tree of processes.
    """
    found: dict[int, tuple[str, str]] = {}
    for pid in _pids():
        marks = _marks(pid)
        if marks is not None and _is_below(folder, marks):
            found[pid] = marks
    return found


def _pids() -> Iterator[int]:
    own = os.getpid()
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != own:
            yield int(name)


def _is_below(folder: Path, marks: tuple[str, str]) -> bool:
    root = str(folder)
    return marks[0] == root or marks[0].startswith(f"{root}/")


def _belongs(pid: int, folder: Path, sessions: Collection[int]) -> bool:
    marks = _marks(pid)
    if marks is not None and _is_below(folder, marks):
        return True
    # A process that wrote over its environment, as setproctitle does, or started with none.
    try:
        return bool(sessions) and os.getsid(pid) in sessions
    except OSError:
        return False


def end_all(folder: Path, grace: float, sessions: Collection[int] = ()) -> None:
    """Ends every process of the trials below ``folder`` and waits until they are gone.

    Args:
        folder: A trial's folder, or one above.
        grace: Seconds from SIGTERM to SIGKILL; 0 for SIGKILL at once.
        sessions: Sessions whose processes are ended too; their leaders must not have been reaped
            yet, as their pids could be somebody else's then.

    Raises:
        RunnerError: Some could not be ended.
    """
    targets = _Targets(folder, sessions)
    try:
        if grace > 0:
            # Looked for again, at growing intervals, as a process may have been about to start
            # another one when it got the signal.
            deadline, pause = time.monotonic() + grace, _FIRST_LOOK
            while targets.send(signal.SIGTERM) and (left := deadline - time.monotonic()) > 0:
                targets.wait(min(pause, left))
                pause *= 2
            if not targets:
                return
        deadline = time.monotonic() + _GONE_LIMIT
        while targets.send(signal.SIGKILL, again=True):
            targets.wait(deadline - time.monotonic())
            if time.monotonic() > deadline:
                left_over = ", ".join(map(str, sorted(targets)))
                raise RunnerError(f"{folder}: the processes {left_over} cannot be ended")
    finally:
        targets.close()


class _Targets(dict[int, int]):
    """The living processes that are to end: pid to pidfd."""

    def __init__(self, folder: Path, sessions: Collection[int]) -> None:
        super().__init__()
        self._folder = folder
        self._sessions = sessions
        self._poller = select.poll()
        self._programs: dict[int, bytes] = {}

    def send(self, number: signal.Signals, again: bool = False) -> bool:
        """Looks for processes and signals the new ones, or all; says whether there is any.

        One that has become another program since is new too: between its fork and its exec it had
        its parent's handlers, and a shell's child drops a signal then.
        """
        for pid in list(self):
            if again or _program(pid) != self._programs[pid]:
                self._signal(pid, number)
        for pid in _pids():
            if pid not in self and _belongs(pid, self._folder, self._sessions):
                self._add(pid, number)
        return bool(self)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        self._programs[pid] = _program(pid)
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self[pid], number)

    def _add(self, pid: int, number: signal.Signals) -> None:
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return
        # Only now is it sure that the pid is not another process's by the time of the signal.
        if not _belongs(pid, self._folder, self._sessions) or _is_over(pidfd):
            os.close(pidfd)
            return
        self[pid] = pidfd
        self._poller.register(pidfd, select.POLLIN)
        self._signal(pid, number)

    def wait(self, seconds: float) -> None:
        """Waits until all have ended, or the time is over."""
        deadline = time.monotonic() + seconds
        while self and (left := deadline - time.monotonic()) > 0:
            ended = {pidfd for pidfd, _ in self._poller.poll(left * 1000 + 1)}
            for pid in [pid for pid, pidfd in self.items() if pidfd in ended]:
                self._release(pid)

    def _release(self, pid: int) -> None:
        pidfd = self.pop(pid)
        self._poller.unregister(pidfd)
        os.close(pidfd)

    def close(self) -> None:
        """Lets go of all."""
        for pid in list(self):
            self._release(pid)


def _program(pid: int) -> bytes:
    """The arguments a process runs with; empty once it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _is_over(pidfd: int) -> bool:
    """Whether the process has ended, reaped or not."""
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(0))


def never_connected(folder: Path, first: str, replicas: Iterable[str], port: int) -> list[str]:
    """Which of the replicas hold no connection to the port that the first one listens on.

    Args:
        folder: The trial's folder.
        first: The replica that is to listen.
        replicas: The ones that are to be connected.
        port: Of the first replica.

    Returns:
        Names of replicas; empty also when nobody listens, as then nobody waits either.
    """
    import psutil

    listens = False
    connected: set[str] = set()
    for pid, (_, replica) in marked(folder).items():
        try:
            connections = psutil.Process(pid).net_connections(kind="tcp")
        except (psutil.Error, OSError):
            continue
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                listens = listens or replica == first
            elif (
                connection.raddr
                and connection.raddr.port == port
                and connection.status != psutil.CONN_SYN_SENT
            ):
                connected.add(replica)
    return [name for name in replicas if name not in connected] if listens else []


def listener_of(folder: Path, port: int) -> bool | None:
    """Whether it is a process of the trial that listens on a port; None when nobody does."""
    import psutil

    own = marked(folder)
    found: bool | None = None
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,):
            found = bool(found) or connection.pid in own
    return found


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
