"""Copies the lines that trials print to files on this machine, for any runner."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from katibflow.errors import RunnerError
from katibflow.runners.base import JobOutcome, Runner, TrialJob
from katibflow.runners.events import Event, LogLine, MetricLine, Observer
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial

__all__ = ["LoggedRunner", "Logs", "copied"]

Logs = Mapping[type[LogLine] | type[MetricLine], Path]
"""The file for each kind of line that is copied."""


@contextmanager
def copied(logs: Logs, observe: Observer) -> Iterator[Observer]:
    """Returns an observer that writes lines to their files, and then passes every event on.

    Args:
        logs: The files, which are truncated first.
        observe: Called with every event.

    Raises:
        OSError: A file cannot be written.
    """
    with ExitStack() as stack:
        files = {
            kind: stack.enter_context(
                path.open("w", encoding="utf-8", errors="replace", buffering=1)
            )
            for kind, path in logs.items()
        }

        def keep(event: Event) -> None:
            if isinstance(event, LogLine | MetricLine) and type(event) in files:
                files[type(event)].write(event.text + "\n")
            observe(event)

        yield keep


class LoggedRunner:
    """Wraps another runner and copies its trials' lines to files; a `runners.base.Runner`.

    Args:
        runner: The other runner, which has the records.
        logs_of: Returns the log files of a job; their folders exist.
    """

    def __init__(self, runner: Runner, logs_of: Callable[[TrialJob], Logs]) -> None:
        self._runner = runner
        self._logs_of = logs_of

    def records(self) -> Sequence[Trial]:
        """Returns the other runner's records."""
        return self._runner.records()

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Runs the job on the other runner and writes its lines here, anew after an adoption."""
        logs = self._logs_of(job)
        try:
            with copied(logs, observe) as keep:
                return self._runner.run(job, keep, stop)
        except OSError as error:
            where = ", ".join(map(str, logs.values()))
            raise RunnerError(f"{where}: {error.strerror or error}") from error

    def record(self, trial: Trial) -> None:
        """Records the trial with the other runner."""
        self._runner.record(trial)

    def sweep(self, keep: Collection[int], reason: str) -> None:
        """Stops jobs of the other runner."""
        self._runner.sweep(keep, reason)

    def close(self) -> None:
        """Closes the other runner."""
        self._runner.close()
