"""Follows a run for a command, to the run's end or to a signal, and prints how it ended."""

from __future__ import annotations

import json
import sys
import threading
from typing import TYPE_CHECKING

import typer

from katibflow.cli.options import EXPERIMENT_FAILED, interrupted
from katibflow.cli.results import best_lines, has_best
from katibflow.client.base import NotFound
from katibflow.engine.signals import caught
from katibflow.errors import RunnerError
from katibflow.printing import say

if TYPE_CHECKING:
    from katibflow.handles.base import RunHandle

__all__ = ["follow_to_end"]


def follow_to_end(run: RunHandle, poll: float | None, as_json: bool) -> typer.Exit:
    """Shows a run until it is over, prints how it ended, and returns the exit status.

    A signal ends the command, not the run.
    """
    from katibflow.runners.stopping import StopRequest

    stop, stopped = StopRequest(), threading.Event()
    stop.subscribe(stopped.set)
    how = (
        f"the run goes on: {run.link}\n"
        f"  katibflow show {run.argument} --follow\n"
        f"  katibflow stop {run.argument}"
    )
    try:
        with caught(stop):
            now = run.follow(stopped.wait, lambda: sys.stderr if as_json else sys.stdout, poll=poll)
    except NotFound:
        raise  # somebody has deleted the run, so it does not go on
    except RunnerError as error:
        raise RunnerError(f"{error}\n{how}") from error
    if stop.reason is not None and not now.is_over:
        say(how, file=sys.stderr)
        return interrupted(stop.reason)
    for line in now.problems:
        say(line, file=sys.stderr)
    if as_json:
        print(json.dumps(now.whole_data()))
    else:
        say(f"{now.ending.reason}: {now.ending.message}")
        if now.history is not None:
            say(*best_lines(now.history))
        say(f"run: {now.link}")
    well = now.ending.succeeded and (now.history is None or has_best(now.history))
    return typer.Exit(0 if well else EXPERIMENT_FAILED)
