"""Follows a run and shows it meanwhile, for the command line and for Python alike."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TextIO

from katibflow.client.base import Pipelines, Run
from katibflow.client.following import follow
from katibflow.client.reading import Sweep
from katibflow.client.records import Records
from katibflow.client.run_view import RunView
from katibflow.client.terminal import Terminal
from katibflow.progress.display import progress_for
from katibflow.progress.status import Status
from katibflow.study.history import History

__all__ = ["watch"]


def watch(
    pipelines: Pipelines,
    sweep: Sweep,
    records: Records | None,
    view: RunView,
    pause: Callable[[], bool],
    stream: Callable[[], TextIO] | None,
) -> tuple[Run, History | None]:
    """Shows a run until it is over, or until ``pause`` says to go.

    Args:
        pipelines: Where it runs.
        sweep: The run.
        records: Its trials; None where they cannot be read.
        view: Tells how the run stands.
        pause: Waits a while; True when the following is to end.
        stream: Where lines go, asked for each; None to show nothing.

    Returns:
        The run as it was last seen, and its trials, if they can be read.

    Raises:
        RunnerError: The server refuses, or is out of reach for too long.
    """
    if stream is None:
        return follow(pipelines, sweep.run.run_id, records, _Blank(), pause, view=view)
    shown = None
    if records is not None:
        status = Status.of(sweep.experiment, ())
        shown = progress_for(status, stream(), since=sweep.run.created)
    with shown or nullcontext():
        screen = Terminal(shown, stream)
        return follow(pipelines, sweep.run.run_id, records, screen, pause, view=view)


class _Blank:
    """A `following.Screen` that shows nothing."""

    def update(self, update: object) -> None:
        pass

    def steps(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass
