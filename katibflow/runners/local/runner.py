"""Runs trials as processes of this machine, and keeps each trial's record in a folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from katibflow.collectors.sources import Endpoint
from katibflow.errors import RunnerError
from katibflow.experiment.timeouts import with_deadline
from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import Observer
from katibflow.runners.local.checks import check_local, manifest_faults
from katibflow.runners.local.devices import Pool
from katibflow.runners.local.ending import KILL_GRACE, end_all
from katibflow.runners.local.follower import follow, remains, replay
from katibflow.runners.local.host import Host
from katibflow.runners.local.lock import RunLock
from katibflow.runners.local.manifest import JobPlan, plan_job, with_gpus
from katibflow.runners.local.members import Census
from katibflow.runners.local.paths import PathMap, parse_map, with_map
from katibflow.runners.local.ports import free_port, reserved
from katibflow.runners.local.processors import processors_here, with_threads
from katibflow.runners.local.settled import Settled
from katibflow.runners.local.state_files import unwritable
from katibflow.runners.local.trial_folder import TrialFolder, digest, trial_folders
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial

__all__ = ["LocalRunner", "PathMap", "RunLock", "check_local", "parse_map"]

_HERE = Host()
_NONE = Settled()


class LocalRunner:
    """Runs trials as processes; a `runners.base.Runner`.

    A trial's processes outlive the process that started them: if that one is killed, the next one
    adopts them.

    Args:
        folder: The run's folder; the trials' folders are in ``trials/`` below it.
        host: The options of the run.
        settled: The trials whose end the run's history has; none by default.
    """

    def __init__(self, folder: Path, host: Host = _HERE, settled: Settled = _NONE) -> None:
        self._trials = folder.resolve() / "trials"
        self._host = host
        self._settled = settled
        self._over = set(settled.numbers)
        self._lock = threading.Condition()
        self._running: dict[int, StopRequest] = {}
        self._census = Census()
        self._gpus = Pool(() if host.gpus is None else host.gpus.ids)

    def records(self) -> Sequence[Trial]:
        """Returns the trials on record by ascending number; folders without a record are ignored.

        A record that the run's history has is left out, unless it has changed since.

        Raises:
            RunnerError: Records are damaged, have a version that this release does not read, or
                cannot be read; the error names all their files.
        """
        wrong: list[str] = []
        records = self.readable_records(wrong.append)
        if wrong:
            raise RunnerError("\n".join(wrong))
        return records

    def readable_records(self, tell: Callable[[str], None]) -> Sequence[Trial]:
        """Returns the trials whose records can be read, by ascending number.

        Args:
            tell: Called with the reason for each record that cannot be read, once for each.

        Raises:
            RunnerError: The folder of the records cannot be read.
        """
        records: list[Trial] = []
        for folder in trial_folders(self._trials, self._settled.is_unread):
            try:
                record = folder.read_record()
            except RunnerError as error:
                tell(str(error))
            else:
                records += [] if record is None else [record]
        return tuple(records)

    def record(self, trial: Trial) -> None:
        """Writes a trial to its record, which is on disk when this returns.

        Raises:
            RunnerError: The record could not be written.
        """
        self._folder(trial.number).write_record(trial)
        if trial.state.is_finished:
            self._over.add(trial.number)

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Runs or adopts a trial's job; see `runners.base.Runner`.

        Raises:
            RunBusy: Another thread or process runs this trial.
            RunnerError: The manifest cannot run on this machine, the folder cannot be written, or
                processes cannot be started or ended.
        """
        host = self._host
        if job.checkpoint is not None:
            place = self._folder(job.trial.number).checkpoints
            maps = with_map(host.maps, PathMap(job.checkpoint.path.rstrip("/"), place))
            host = replace(host, maps=maps)
        faults = tuple(manifest_faults(job.manifest, host))
        if faults:
            raise RunnerError("\n".join(f"trialSpec.{fault}" for fault in faults))
        folder = self._folder(job.trial.number)
        job = replace(job, limits=with_deadline(job.limits, job.manifest))
        inner = StopRequest()
        with unwritable(folder.path), folder.locked(), self._registered(job.trial.number, inner):
            unsubscribe = stop.pass_on(inner)
            try:
                folder.write_record(job.trial)
                with self._lent_gpus(job.trial.number, inner) as ids:
                    return self._run(job, folder, host, ids, observe, inner)
            finally:
                unsubscribe()

    def sweep(self, keep: Collection[int], reason: str) -> None:
        """Stops the jobs of all trials but ``keep``, also those of a process that was killed.

        Raises:
            RunnerError: Processes could not be ended, or folders could not be read or written;
                all other jobs are stopped nevertheless.
        """
        with self._lock:
            own = {number: stop for number, stop in self._running.items() if number not in keep}
        for stop in own.values():
            stop.set(reason)
        folders = trial_folders(self._trials, lambda number, path: number not in self._over)
        places = [folder.path for folder in folders]
        living = {marks.folder for marks in self._census.find(self._trials, (), places).values()}
        folders += self._left_by(living, folders)
        wrong: list[str] = []
        for folder in folders:
            if folder.number in keep or folder.number in own:
                self._reserve(folder)
                continue
            lives = folder.is_in_use or any(
                Path(path).is_relative_to(folder.path) for path in living
            )
            try:
                self._stop(folder, lives, reason)
            except RunnerError as error:  # the others are stopped all the same
                wrong.append(str(error))
        with self._lock:
            self._lock.wait_for(lambda: not (own.keys() & self._running.keys()))
        if wrong:
            raise RunnerError("\n".join(wrong))

    def _left_by(self, living: Collection[str], known: Sequence[TrialFolder]) -> list[TrialFolder]:
        """Returns the folders of trials that have ended but have left processes running."""
        numbers = {folder.number for folder in known}
        names = {Path(path).relative_to(self._trials).parts[0] for path in living}
        found = (TrialFolder(self._trials / name, int(name)) for name in names if name.isdigit())
        return [folder for folder in found if folder.number not in numbers]

    def _reserve(self, folder: TrialFolder) -> None:
        """Keeps the GPUs of a trial that an earlier process started for that trial."""
        attempt = folder.attempt()
        if self._gpu_count and attempt is not None and attempt.end() is None:
            self._gpus.reserve(folder.number, attempt.gpus)

    @contextmanager
    def _lent_gpus(self, number: int, stop: StopRequest) -> Iterator[tuple[str, ...]]:
        """Lends a trial its GPUs; none if trials take none."""
        if not self._gpu_count:
            yield ()
            return
        unsubscribe = stop.subscribe(self._gpus.wake)
        try:
            with self._gpus.lent(number, self._gpu_count, lambda: stop.reason is not None) as ids:
                yield ids
        finally:
            unsubscribe()

    @property
    def _gpu_count(self) -> int:
        """How many GPUs a trial takes; 0 if there are none."""
        gpus = self._host.gpus
        return gpus.each if gpus is not None and gpus.ids else 0

    def _stop(self, folder: TrialFolder, lives: bool, reason: str) -> None:
        """Stops a trial that lives, or whose record says that it runs.

        One that has run to its end while nobody followed it keeps its end: the next start takes
        its result.
        """
        record = None if lives else folder.read_record()
        if not lives and (record is None or record.state.is_finished):
            return
        # It takes no lock: a living process that follows the trial finds there that it was stopped.
        with unwritable(folder.path):
            attempt = folder.attempt()
            if not lives and attempt is not None and attempt.has_exit_code():
                return
            if attempt is not None and attempt.end() is None:
                attempt.write_end(JobOutcome(JobState.STOPPED, "Stopped", reason))
        end_all(folder.path, KILL_GRACE, census=self._census)

    def close(self) -> None:
        """Does nothing: processes and records stay, and the runner holds nothing."""

    def _folder(self, number: int) -> TrialFolder:
        return TrialFolder(self._trials / f"{number:04d}", number)

    def _checkpoints_of(self, number: int, job: str | None) -> Path:
        """Returns a parent's checkpoint folder; a parent may be in an earlier run's folder."""
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
        host: Host,
        ids: Sequence[str],
        observe: Observer,
        stop: StopRequest,
    ) -> JobOutcome:
        name = job.trial.job or f"trial-{job.trial.number}"
        attempt = folder.attempt()
        if attempt is not None and (attempt.name, attempt.manifest) == (name, digest(job.manifest)):
            plan = self._plan(job, name, attempt.port, attempt.metrics_port, ids)
            end = attempt.end()
            if end is not None and end.state is not JobState.STOPPED:
                return replay(plan, folder, attempt, end, observe, self._census)
            if end is None and remains(plan, folder, attempt):
                with reserved(attempt.port), reserved(attempt.metrics_port):
                    return follow(
                        plan, folder, attempt, host, job.limits, observe, stop, self._census
                    )
        if folder.has_attempts:
            end_all(folder.path, KILL_GRACE, census=self._census)
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
        with free_port() as port, free_port() if serves else nullcontext(0) as metrics_port:
            plan = self._plan(job, name, port, metrics_port, ids)
            attempt = folder.new_attempt(name, job.manifest, port, metrics_port)
            if ids:
                attempt.write_gpus(ids)
            return follow(plan, folder, attempt, host, job.limits, observe, stop, self._census)

    def _plan(
        self, job: TrialJob, name: str, port: int, metrics_port: int, ids: Sequence[str]
    ) -> JobPlan:
        """Returns the plan of a job, with its part of the machine's processors and GPUs."""
        plan = plan_job(job.manifest, name, port, job.source, metrics_port)
        plan = with_threads(plan, self._host.side_by_side, processors_here())
        gpus = self._host.gpus
        return with_gpus(plan, gpus.kind, ids) if gpus is not None and ids else plan
