"""Copies records and primary containers' output to a run's folder here, for trials elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from katibflow.runners.base import JobOutcome, Runner, TrialJob
from katibflow.runners.events import Event, LogLine, MetricLine, Observer, Started
from katibflow.runners.folder_records import FolderRecords
from katibflow.runners.log_copies import LoggedRunner, Logs
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial

__all__ = ["CopyingRunner"]

_METRICS = "katibflow-metrics"
"""Name of the log with the lines of a source besides the output; no container has this name."""


class CopyingRunner(LoggedRunner):
    """Wraps another runner and gives its trials folders on this machine, as local trials have.

    The other runner's records are the authoritative ones. Where it has none, the copy here counts:
    the job of a finished trial was deleted, or one that was to run was never made.

    Args:
        runner: The other runner.
        folder: The run's folder.
        warn: Called with the reason for each copy that cannot be read.
    """

    def __init__(self, runner: Runner, folder: Path, warn: Callable[[str], None]) -> None:
        super().__init__(runner, self._logs, goes_on=True)
        self._folder = folder
        self._warn = warn
        self._copies = FolderRecords(folder)

    def _logs(self, job: TrialJob) -> Logs:
        folder = self._folder / "trials" / f"{job.trial.number:04}"
        logs: dict[type[LogLine] | type[MetricLine], Path] = {
            LogLine: folder / f"{job.primary_container or 'main'}.log"
        }
        if job.source is not None:
            logs[MetricLine] = folder / f"{_METRICS}.log"
        return logs

    def records(self) -> Sequence[Trial]:
        """Returns the other runner's records, and the copies of those that it lacks."""
        found = {trial.number: trial for trial in super().records()}
        for copy in self._copies.readable(self._warn):
            known = found.get(copy.number)
            if copy.state.is_finished and (known is None or not known.state.is_finished):
                found[copy.number] = copy
            elif known is None:
                found[copy.number] = replace(copy, start=None)
        return tuple(found[number] for number in sorted(found))

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Runs the job on the other runner and copies its record and lines."""

        def keep(event: Event) -> None:
            if isinstance(event, Started):
                self._copies.put(job.trial.started(event.time))
            observe(event)

        self._copies.put(job.trial)
        outcome = super().run(job, keep, stop)
        kept = {path.stem: str(path) for path in self._logs(job).values()}
        return replace(outcome, logs={**outcome.logs, **kept})

    def record(self, trial: Trial) -> None:
        """Records the trial with the other runner, then here."""
        super().record(trial)
        self._copies.put(trial)
        if trial.state.is_finished:  # nobody goes on with its output any more
            for path in (self._folder / "trials" / f"{trial.number:04}").glob("*.position"):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the other runner and releases the folder."""
        super().close()
        self._copies.close()
