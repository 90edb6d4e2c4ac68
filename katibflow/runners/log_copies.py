"""Keeps in files what trials print, wherever they run: the one writer of copies of logs."""

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
"""The file for each kind of line that is kept."""


@contextmanager
def copied(logs: Logs, observe: Observer) -> Iterator[Observer]:
    """Gives an observer that writes lines to their files, as they come, before it passes them on.

    Args:
        logs: The files, which are begun anew.
        observe: Told all events.

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
    """Another runner whose trials' lines are kept in files; a `runners.base.Runner`.

    Args:
        runner: Where the trials run, and their records are.
        logs_of: The files of a job, whose folders exist.
    """

    def __init__(self, runner: Runner, logs_of: Callable[[TrialJob], Logs]) -> None:
        self._runner = runner
        self._logs_of = logs_of

    def records(self) -> Sequence[Trial]:
        """Returns the other runner's."""
        return self._runner.records()

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        """Runs the job there and writes its lines here, anew when the job is adopted."""
        logs = self._logs_of(job)
        try:
            with copied(logs, observe) as keep:
                return self._runner.run(job, keep, stop)
        except OSError as error:
            where = ", ".join(map(str, logs.values()))
            raise RunnerError(f"{where}: {error.strerror or error}") from error

    def record(self, trial: Trial) -> None:
        """Puts the trial on record there."""
        self._runner.record(trial)

    def sweep(self, keep: Collection[int], reason: str) -> None:
        """Stops jobs there."""
        self._runner.sweep(keep, reason)

    def close(self) -> None:
        """Lets go of the other runner."""
        self._runner.close()
