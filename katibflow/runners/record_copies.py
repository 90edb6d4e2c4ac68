"""Copies records and primary containers' output to a run's folder here, for trials elsewhere."""

from __future__ import annotations

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

    The other runner's records are the authoritative ones.

    Args:
        runner: The other runner.
        folder: The run's folder.
    """

    def __init__(self, runner: Runner, folder: Path) -> None:
        super().__init__(runner, self._logs)
        self._folder = folder
        self._copies = FolderRecords(folder)

    def _logs(self, job: TrialJob) -> Logs:
        folder = self._folder / "trials" / f"{job.trial.number:04}"
        logs: dict[type[LogLine] | type[MetricLine], Path] = {
            LogLine: folder / f"{job.primary_container or 'main'}.log"
        }
        if job.source is not None:
            logs[MetricLine] = folder / f"{_METRICS}.log"
        return logs

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Runs the job on the other runner and copies its record and lines, anew if adopted."""

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

    def close(self) -> None:
        """Closes the other runner and releases the folder."""
        super().close()
        self._copies.close()
