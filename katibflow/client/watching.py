"""Follows a run and shows its progress, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TextIO

from katibflow.client.base import Run, Runs
from katibflow.client.following import follow
from katibflow.client.kfp_logs import LogFeed
from katibflow.client.reading import ExperimentRun
from katibflow.client.records import Records
from katibflow.client.run_view import RunView
from katibflow.client.terminal import Terminal
from katibflow.progress.display import progress_for
from katibflow.progress.status import Status
from katibflow.study.history import History

__all__ = ["watch"]


def watch(
    runs: Runs,
    experiment_run: ExperimentRun,
    records: Records | None,
    view: RunView,
    pause: Callable[[], bool],
    stream: Callable[[], TextIO] | None,
    feed: LogFeed | None = None,
) -> tuple[Run, History | None]:
    """Shows a run until it is over, or until ``pause`` returns True.

    Args:
        runs: Has the run.
        experiment_run: The run.
        records: Reads the run's trials; None where they cannot be read.
        view: Reads the run's status.
        pause: Waits a while; returns True to stop following.
        stream: Returns the stream for the next line; None to show nothing.
        feed: Reads what the step `controller` prints; see `following.follow`.

    Returns:
        The run as last read, and its trials, or None if they could not be read.

    Raises:
        RunnerError: The server refuses, or is unreachable for 10 minutes.
    """
    run_id = experiment_run.run.run_id
    if stream is None:
        return follow(runs, run_id, records, _Blank(), pause, view=view)
    shown = None
    if records is not None:
        status = Status.of(experiment_run.experiment, ())
        shown = progress_for(status, stream(), since=experiment_run.run.created)
    with shown or nullcontext():
        screen = Terminal(shown, stream)
        return follow(runs, run_id, records, screen, pause, view=view, feed=feed)


class _Blank:
    """A `following.Screen` that shows nothing."""

    def taken_over(self, trials: object) -> None:
        pass

    def update(self, update: object) -> None:
        pass

    def steps(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass
