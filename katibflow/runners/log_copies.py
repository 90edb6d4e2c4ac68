"""Keeps on this machine what happens elsewhere: records and the output of primary containers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from katibflow.errors import RunnerError
from katibflow.runners.base import JobOutcome, Runner, TrialJob
from katibflow.runners.events import Event, LogLine, MetricLine, Observer, Started
from katibflow.runners.local.runner import LocalRunner
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial

__all__ = ["KeptRunner"]

_METRICS = "katibflow-metrics"
"""Name of the log of what was read beside the output, which no container has."""


class KeptRunner:
    """Another runner whose trials get a folder here, as local ones have; a `runners.base.Runner`.

    The records that count are the other runner's.

    Args:
        runner: Where the trials run.
        folder: The run's folder.
    """

    def __init__(self, runner: Runner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._copies = LocalRunner(folder)

    def records(self) -> Sequence[Trial]:
        """The other runner's."""
        return self._runner.records()

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Runs the job there and writes its lines here, anew when the job is adopted."""
        self._copies.record(job.trial)
        name = job.primary_container or "main"
        names = [name] if job.source is None else [name, _METRICS]
        folder = self._folder / "trials" / f"{job.trial.number:04}"
        paths = {each: folder / f"{each}.log" for each in names}
        try:
            with ExitStack() as stack:
                logs = {
                    each: stack.enter_context(
                        path.open("w", encoding="utf-8", errors="replace", buffering=1)
                    )
                    for each, path in paths.items()
                }

                def keep(event: Event) -> None:
                    if isinstance(event, Started):
                        self._copies.record(job.trial.started(event.time))
                    elif isinstance(event, LogLine):
                        logs[name].write(event.text + "\n")
                    elif isinstance(event, MetricLine):
                        logs[_METRICS].write(event.text + "\n")
                    observe(event)

                outcome = self._runner.run(job, keep, stop)
        except OSError as error:
            raise RunnerError(f"{folder}: {error.strerror or error}") from error
        kept = {each: str(path) for each, path in paths.items()}
        return replace(outcome, logs={**outcome.logs, **kept})

    def record(self, trial: Trial) -> None:
        """Puts the trial on record there, then here."""
        self._runner.record(trial)
        self._copies.record(trial)

    def sweep(self, keep: Collection[int], reason: str) -> None:
        """Stops jobs there."""
        self._runner.sweep(keep, reason)

    def close(self) -> None:
        """Lets go of both."""
        self._runner.close()
        self._copies.close()
