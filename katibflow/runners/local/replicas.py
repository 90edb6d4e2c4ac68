"""Starts the processes that stand for a job's pods, and judges the job by their exit codes."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from katibflow.errors import RunnerError
from katibflow.runners.base import JobOutcome, JobState
from katibflow.runners.local.attempt import Attempt
from katibflow.runners.local.host import Host
from katibflow.runners.local.lines import last_lines
from katibflow.runners.local.manifest import (
    Command,
    JobPlan,
    Replica,
    command_of,
    program_of,
    texts_of,
)
from katibflow.runners.local.members import FOLDER_MARK, REPLICA_MARK
from katibflow.runners.local.metrics_folders import maps_of
from katibflow.runners.local.paths import map_paths
from katibflow.runners.local.processes import (
    TAKEN,
    ReplicaProcess,
    adopt,
    describe_exit,
    start,
)
from katibflow.runners.local.project import absent_paths, project_of
from katibflow.runners.local.surroundings import project_variables
from katibflow.runners.local.trial_folder import TrialFolder

__all__ = ["Ended", "Replicas", "with_log"]

_LAST_LINES = 10


@dataclass(frozen=True)
class Ended:
    """A replica that has ended; ``code`` as a shell has it, or None if unknown."""

    code: int | None


class Replicas:
    """The replicas of a job: not begun, running, or ended.

    The plan's observer is one of them, but it takes no place of a replica and decides nothing.

    Args:
        plan: The plan of the job.
        folder: The trial's folder.
        attempt: The job's state on disk.
        host: The options of the run.
        on_end: Called, in another thread, with the name of a replica whose process ended.

    Attributes:
        running: Replica name to process.
        ended: Replica name to end, in the order of the ends.
    """

    def __init__(
        self,
        plan: JobPlan,
        folder: TrialFolder,
        attempt: Attempt,
        host: Host,
        on_end: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._attempt = attempt
        self._host = host
        self._commands: dict[str, Command] = {}
        self._on_end = on_end
        self._waiting: list[Replica] = []
        self._done: list[ReplicaProcess] = []
        self.running: dict[str, ReplicaProcess] = {}
        self.ended: dict[str, Ended] = {}

    def find(self) -> None:
        """Takes over the processes that an earlier process started."""
        ended: list[tuple[int, str, Ended]] = []
        for replica in self._plan.replicas:
            name = replica.name
            # The process is tested before the exit code, which it writes last.
            process = adopt(self._attempt, name, self._folder.path)
            code = self._attempt.exit_code(name)
            if code is not None:
                ended.append((self._attempt.exit_time(name), name, Ended(code)))
                if process is not None:
                    self._done.append(process)
            elif process is not None:
                self._follow(name, process)
            elif self._attempt.pid(name) is not None:
                ended.append((self._attempt.exit_time(name), name, Ended(None)))
            else:
                self._waiting.append(replica)
        self.ended.update((name, end) for _, name, end in sorted(ended, key=lambda item: item[0]))

    def begin(self) -> JobOutcome | None:
        """Starts the replicas that may run now.

        Returns:
            The job's end if a replica cannot be started.

        Raises:
            RunnerError: The folder cannot be written, or the machine has no room for a process.
        """
        while self._waiting and self._may_begin(self._waiting[0]):
            replica = self._waiting.pop(0)
            marks = {FOLDER_MARK: str(self._folder.path), REPLICA_MARK: replica.name}
            marks |= project_variables()
            folder = project_of(replica.container, self._host.projects) or self._folder.path
            maps = maps_of(
                self._plan,
                replica.name,
                self._attempt.folder,
                self._host.maps,
                (*texts_of(replica, self._host), str(folder)),
            )
            own = [each for each in maps if each.is_exact]
            folder = Path(map_paths(str(folder), own))
            command = command_of(replica, self._host, folder, marks, maps)
            self._commands[replica.name] = command
            if not command.folder.is_dir():
                return _cannot_start(replica, f"there is no folder {command.folder}")
            program = program_of(command)
            if program is None:
                return _cannot_start(
                    replica,
                    f"{command.arguments[0]!r} is no program that can be executed here",
                )
            try:
                process = start(
                    command,
                    program,
                    self._attempt.base(replica.name),
                    self._folder.log(replica.name),
                )
                self._follow(replica.name, process)
            except ValueError as error:  # a NUL byte
                return _cannot_start(replica, str(error))
            except OSError as error:
                if error.errno == errno.E2BIG:
                    return _cannot_start(replica, "its arguments or environment are too long")
                raise RunnerError(
                    f"trial {self._folder.number}: {replica.name} cannot be started: "
                    f"{error.strerror or error} ({error.filename or 'no file'})"
                ) from error
        return None

    def _follow(self, name: str, process: ReplicaProcess) -> None:
        self.running[name] = process
        process.on_end(partial(self._on_end, name))

    def _may_begin(self, replica: Replica) -> bool:
        working = len(self.running.keys() - {self._plan.observer})
        return replica.name == self._plan.observer or working < self._plan.parallelism

    def take_ended(self, names: Collection[str]) -> None:
        """Moves the named replicas, whose processes ended, to ``ended``, the earliest first."""
        for name in sorted(names, key=self._attempt.exit_time):
            process = self.running.pop(name)
            self._done.append(process)
            code = self._attempt.exit_code(name)
            if code is None:
                code = process.exit_code()
                if code == TAKEN and not (self._attempt.pid(name) or self._attempt.end()):
                    raise RunnerError(
                        f"{self._attempt.base(name)}.pid: cannot be written; is the disk full?"
                    )
            self.ended[name] = Ended(code)

    @property
    def sessions(self) -> frozenset[int]:
        """Returns the sessions of the replicas whose pids cannot be another process's."""
        processes = (*self._done, *self.running.values())
        return frozenset(process.pid for process in processes if process.is_held)

    @property
    def left(self) -> tuple[psutil.Process, ...]:
        """Returns the processes that still ran where a shell had been killed."""
        return tuple(each for process in self._done for each in process.left)

    def close(self) -> None:
        """Ends the process groups of our own children and releases all processes."""
        for process in (*self._done, *self.running.values()):
            process.close()
        self._done.clear()
        self.running.clear()

    def judge(self) -> JobOutcome | None:
        """Returns the job's end by the exit codes, or None while the job goes on."""
        succeeded = 0
        for name, end in self.ended.items():
            if name == self._plan.observer:
                continue
            if end.code == 0:
                succeeded += name in self._plan.deciders
            elif succeeded < self._plan.needed:
                return JobOutcome(
                    JobState.FAILED,
                    "ReplicaFailed",
                    with_log(_failed(name, end.code, self._commands.get(name)), self._folder, name),
                )
        if succeeded >= self._plan.needed:
            return JobOutcome(JobState.SUCCEEDED)
        return None


def _failed(name: str, code: int | None, command: Command | None) -> str:
    """Returns how a replica failed, and which paths its command names that are not here."""
    sentence = f"{name} {describe_exit(code)}"
    paths = [] if command is None else absent_paths(command.arguments, command.folder)
    if command is None or not paths:
        return sentence
    place = "" if all(path.startswith("/") for path in paths) else f" (from {command.folder})"
    return (
        f"{sentence}; its command names {', '.join(paths)}, not found here{place}: if that is "
        "data, say where it is: --map CONTAINER=HERE for a container's path, or workingDir for a "
        "relative one"
    )


def _cannot_start(replica: Replica, why: str) -> JobOutcome:
    return JobOutcome(JobState.FAILED, "StartFailed", f"{replica.name} cannot be started: {why}")


def with_log(sentence: str, folder: TrialFolder, replica: str) -> str:
    """Returns the sentence with the last lines of the log of the replica that it is about."""
    lines = last_lines(folder.log(replica), _LAST_LINES)
    if not lines:
        return f"{sentence}; {replica} printed nothing"
    listed = "".join(f"\n  {line}" for line in lines)
    return f"{sentence}; the last lines of {replica}:{listed}"
