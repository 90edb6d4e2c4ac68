"""The command ``logs``: what a trial, or a whole run, printed."""

from __future__ import annotations

from typing import Annotated

import typer

from katibflow.cli.finding import Poll, RunName, with_where
from katibflow.handles.base import Where
from katibflow.handles.registry import find_run
from katibflow.printing import say

__all__ = ["logs"]


@with_where
def logs(
    run: RunName,
    where: Where,
    trial: Annotated[
        int | None,
        typer.Argument(
            min=0, help="A trial's number; without it, a pipeline's steps, or all trials."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the trial, or the run, is over.")
    ] = False,
    poll: Poll = None,
) -> None:
    """Print what a trial printed, or the whole run: a pipeline's steps, or all trials in turn.

    On this machine logs stay in the run's folder; in a cluster they are there as long as their
    pods. Of a step's log, the lines of Kubeflow Pipelines' launcher and of Argo are left out.

    \b
    Examples:
      katibflow logs runs/mnist 3 --follow
      katibflow logs mnist-20260131-093000 3
      katibflow logs 0a1b2c3d
    """
    last: str | None = None
    for name, line in find_run(run, where).logs(trial, follow=follow, poll=poll):
        if name != last or line is None:
            say(f"==> {name} <==")
        if line is not None:
            say(line)
        last = name
