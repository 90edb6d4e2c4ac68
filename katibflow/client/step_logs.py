"""Reads what a run's steps printed, from their pods, once or until the run is over."""

from __future__ import annotations

from collections.abc import Iterator

from katibflow.client.base import Run, Runs
from katibflow.client.log_following import follow_logs, in_turn
from katibflow.client.logs import step_logs, step_sources
from katibflow.client.step_output import StepOutput, own_lines
from katibflow.runners.kubernetes.api import Api

__all__ = ["lines_of_steps"]


def lines_of_steps(
    api: Api, runs: Runs, run: Run, *, follow: bool, poll: float
) -> tuple[str, Iterator[tuple[str, str | None]]]:
    """Returns why there may be no line, and the names of steps with each line of theirs.

    The lines of the engine itself are left out.

    Args:
        api: Requests in the namespace of the steps' pods.
        runs: Has the run.
        run: The run.
        follow: Whether to go on until the run is over.
        poll: Seconds between two looks at which pods there are.

    Raises:
        RunnerError: The cluster refuses.
    """
    why = f"no pod of a step of {run.name} is left, or has begun"
    if not follow:
        return why, in_turn((step, own_lines(log)) for step, log in step_logs(api, run))
    lines = follow_logs(
        api,
        lambda: step_sources(api, run),
        lambda: runs.run(run.run_id).is_over,
        poll,
        lambda: StepOutput().is_own,
    )
    return why, ((name, line) for name, line in lines)
