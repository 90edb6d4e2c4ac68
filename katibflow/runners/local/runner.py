"""Runs trials as processes of this machine and keeps their records, a folder a trial."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from katibflow.collectors.sources import Endpoint
from katibflow.errors import RunnerError
from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import Observer
from katibflow.runners.local.checks import check_local, manifest_faults
from katibflow.runners.local.file_watch import LogWatches
from katibflow.runners.local.follower import follow, remains, replay
from katibflow.runners.local.manifest import plan_job
from katibflow.runners.local.paths import PathMap, parse_map, with_map
from katibflow.runners.local.processes import KILL_GRACE, end_all, marked
from katibflow.runners.local.trial_folder import (
    RunLock,
    TrialFolder,
    digest,
    trial_folders,
    unwritable,
)
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial

__all__ = ["LocalRunner", "PathMap", "RunLock", "check_local", "parse_map"]

# Below the range from which Linux takes ports for outgoing connections.
_PORTS = range(20_000, 32_768)
_TRIES = 200


class LocalRunner:
    """Runs trials as processes; a `runners.base.Runner`.

    A trial's processes outlive this one: if it is killed, the next one adopts them.

    Args:
        folder: The run's folder; the trials' are in ``trials/`` below it.
        maps: Container paths and what stands for them here.
    """

    def __init__(self, folder: Path, maps: Sequence[PathMap] = ()) -> None:
        self._trials = folder.resolve() / "trials"
        self._maps = tuple(maps)
        self._lock = threading.Condition()
        self._running: dict[int, StopRequest] = {}
        self._watches = LogWatches()

    def records(self) -> Sequence[Trial]:
        """The trials on record, by ascending number; folders without a record are passed over.

        Raises:
            RunnerError: A record is damaged or cannot be read; the file is named.
        """
        records = (folder.read_record() for folder in trial_folders(self._trials))
        return tuple(record for record in records if record is not None)

    def record(self, trial: Trial) -> None:
        """Puts a trial on record, on disk when it returns.

        Raises:
            RunnerError: It could not be written.
        """
        self._folder(trial.number).write_record(trial)

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Runs or adopts a trial's job; see `runners.base.Runner`.

        Raises:
            RunBusy: Another thread or process runs this trial.
            RunnerError: The manifest is nothing for this machine, the folder cannot be written, or
                processes cannot be made or ended.
        """
        maps = self._maps
        if job.checkpoint is not None:
            place = self._folder(job.trial.number).checkpoints
            maps = with_map(maps, PathMap(job.checkpoint.path.rstrip("/"), place))
        faults = tuple(manifest_faults(job.manifest))
        if faults:
            raise RunnerError("\n".join(f"trialSpec.{fault}" for fault in faults))
        folder = self._folder(job.trial.number)
        inner = StopRequest()
        with unwritable(folder.path), folder.locked(), self._registered(job.trial.number, inner):
            unsubscribe = stop.pass_on(inner)
            try:
                folder.write_record(job.trial)
                return self._run(job, folder, maps, observe, inner)
            finally:
                unsubscribe()

    def sweep(self, keep: Collection[int], reason: str) -> None:
        """Stops the jobs of all trials but ``keep``, also those of a tool that was killed.

        Raises:
            RunnerError: Processes could not be ended, or a folder not be read or written.
        """
        with self._lock:
            own = {number: stop for number, stop in self._running.items() if number not in keep}
        for stop in own.values():
            stop.set(reason)
        living = {folder for folder, _ in marked(self._trials).values()}
        for folder in trial_folders(self._trials):
            if folder.number in keep or folder.number in own:
                continue
            lives = any(Path(path).is_relative_to(folder.path) for path in living)
            record = None if lives else folder.read_record()
            if lives or (record is not None and not record.state.is_finished):
                # No lock: a living tool that follows the trial finds there that it was stopped.
                with unwritable(folder.path):
                    attempt = folder.attempt()
                    if attempt is not None and attempt.end() is None:
                        attempt.write_end(JobOutcome(JobState.STOPPED, "Stopped", reason))
                end_all(folder.path, KILL_GRACE)
        with self._lock:
            self._lock.wait_for(lambda: not (own.keys() & self._running.keys()))

    def close(self) -> None:
        """Lets go of watches; processes and records stay, and the runner can be used again."""
        self._watches.close()

    def _folder(self, number: int) -> TrialFolder:
        return TrialFolder(self._trials / f"{number:04d}", number)

    def _checkpoints_of(self, number: int, job: str | None) -> Path:
        """A parent's checkpoint folder; in the folder of an earlier run if it is taken over."""
        own = self._folder(number).checkpoints
        run, _, there = (job or "").rpartition("-")
        if own.is_dir() or not (run and there.isdecimal()):
            return own
        trials = self._trials.parent.with_name(run) / "trials"
        other = TrialFolder(trials / f"{int(there):04d}", int(there)).checkpoints
        return other if other.is_dir() else own

    @contextmanager
    def _registered(self, number: int, stop: StopRequest) -> Iterator[None]:
        with self._lock:
            self._running[number] = stop
        try:
            yield
        finally:
            with self._lock:
                del self._running[number]
                self._lock.notify_all()

    def _run(
        self,
        job: TrialJob,
        folder: TrialFolder,
        maps: Sequence[PathMap],
        observe: Observer,
        stop: StopRequest,
    ) -> JobOutcome:
        name = job.trial.job or f"trial-{job.trial.number}"
        attempt = folder.attempt()
        if attempt is not None and (attempt.name, attempt.manifest) == (name, digest(job.manifest)):
            plan = plan_job(job.manifest, name, attempt.port, job.source, attempt.metrics_port)
            end = attempt.end()
            if end is not None and end.state is not JobState.STOPPED:
                return replay(plan, folder, attempt, end, observe)
            if end is None and remains(plan, folder, attempt):
                with _reserved(attempt.port), _reserved(attempt.metrics_port):
                    return follow(
                        plan, folder, attempt, maps, job.limits, observe, stop, self._watches
                    )
        if folder.has_attempts:
            end_all(folder.path, KILL_GRACE)
        if stop.reason is not None:
            return JobOutcome(JobState.STOPPED, "Stopped", stop.reason.text)
        if job.checkpoint is not None:
            parent = job.checkpoint.parent
            source = None if parent is None else self._checkpoints_of(parent, job.parent)
            if source is not None and not source.is_dir():
                return JobOutcome(
                    JobState.FAILED,
                    "CheckpointLost",
                    f"there is no folder {source} with the checkpoints of trial {parent}, which "
                    "this one goes on from",
                )
            folder.renew_checkpoints(source)
        serves = isinstance(job.source, Endpoint)
        with _free_port() as port, _free_port() if serves else nullcontext(0) as metrics_port:
            plan = plan_job(job.manifest, name, port, job.source, metrics_port)
            attempt = folder.new_attempt(name, job.manifest, port, metrics_port)
            return follow(plan, folder, attempt, maps, job.limits, observe, stop, self._watches)


@contextmanager
def _free_port() -> Iterator[int]:
    """A port that nobody listens on, kept from every other trial on this machine."""
    for _ in range(_TRIES):
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
        with _reserved(port) as is_ours:
            if is_ours:
                yield port
                return
    raise RunnerError(f"no port between {_PORTS.start} and {_PORTS.stop - 1} is free")


@contextmanager
def _reserved(port: int) -> Iterator[bool]:
    """Keeps a port from other trials, whichever process runs them; says whether it was free.

    An abstract Unix socket of the port's name stands for it, as no file does that a kill leaves.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holder:
        try:
            holder.bind(f"\0katibflow-port-{port}")
        except OSError:
            yield False
            return
        yield True
