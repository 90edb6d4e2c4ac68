"""Stops a run; also stops the trials' jobs if the run's engine does not act."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from katibflow.client.base import Run, Runs
from katibflow.client.reading import ExperimentRun
from katibflow.client.records import Records
from katibflow.client.run_view import Clock, RunStatus, RunView, now_in_utc
from katibflow.client.stalls import has_trials, resuming
from katibflow.client.workflow_reader import Workflows
from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.job_object import RUN
from katibflow.study.history import History
from katibflow.study.resume import run_name

__all__ = ["WAIT", "Stopped", "stop_run"]

WAIT = 30.0
"""Seconds in which an engine that acts changes something; Argo reads a Workflow every 10 s."""

_REASON = "the run was stopped, and its engine does not act"
_LEFT = "the pipeline run is over"


@dataclass(frozen=True)
class Stopped:
    """The outcome of stopping a run.

    Attributes:
        run: The run as last read.
        asked: Whether this call asked the run to end; False if it had ended, or another call had
            asked before.
        engine_problem: Why the engine may not act, in words; "" without a sign of that.
        acts: Whether the engine acts, as far as is known.
        jobs: Names of the trials' jobs that were stopped from here, as those that a run that is
            over has left; None if that was not needed, or not possible.
        obstacle: Why it was not possible; "" if it was.
        command: The command that goes on from the run's trials; "" if the engine acts.
        goes_on: Whether there are trials to go on from; if not, the command starts anew.
    """

    run: Run
    asked: bool
    engine_problem: str = ""
    acts: bool = True
    jobs: tuple[str, ...] | None = None
    obstacle: str = ""
    command: str = ""
    goes_on: bool = True

    @property
    def is_done(self) -> bool:
        """Whether the user has nothing left to do."""
        return not self.obstacle

    def lines(self) -> list[str]:
        """Returns the outcome in lines for a person."""
        name = self.run.name
        if self.run.is_over:
            over = f"{name} is over{'' if self.asked else ' already'}: {self.run.state}"
            return [over, *([self._jobs_text()] if self.jobs or self.obstacle else [])]
        if self.acts:
            being = "is being stopped" if self.asked else "is being stopped already"
            return [f"{name} {being}; its step finish then stops its jobs"]
        return [
            self.engine_problem,
            f"{name} was asked to end, and the engine does not act: nothing has changed in "
            f"{WAIT:.0f} s, and {self.run.engine.title} goes on to show it as {self.run.state}",
            self._jobs_text(),
            "a new run goes on from its trials:" if self.goes_on else "none of its trials is left:",
            f"  {self.command}",
        ]

    def _jobs_text(self) -> str:
        if self.jobs is None:
            selector = f"{RUN}={run_name(self.run.run_id)}"
            return (
                f"its trials' jobs, with the label {selector}, could not be stopped from here: "
                f"{self.obstacle}"
            )
        if not self.jobs:
            return "0 jobs were stopped: no job of its trials goes on"
        plural = "s were" if self.jobs[1:] else " was"
        return f"{len(self.jobs)} job{plural} stopped: {', '.join(self.jobs)}"


def stop_run(
    runs: Runs,
    experiment_run: ExperimentRun,
    records: Records | None,
    reader: Workflows | None,
    pause: Callable[[], object],
    now: Clock = now_in_utc,
) -> Stopped:
    """Asks a run to end, and stops its jobs from here if its engine does not act, or is done.

    Where there are signs that the engine may not act, this waits up to `WAIT` seconds for it.

    Args:
        runs: Has the run.
        experiment_run: The run.
        records: Reads and stops the run's jobs; None where they cannot be read.
        reader: Reads the run's Workflow; None where there is no cluster.
        pause: Waits a while between two requests.
        now: The clock.

    Raises:
        RunnerError: The server refuses.
    """
    run = runs.run(experiment_run.run.run_id)
    if run.is_over:
        return _after_its_end(run, records)
    run, asked = _asked_to_end(runs, run)
    view = RunView(experiment_run, records, reader, now)
    history = _history(records)
    before = view.status(run, history)
    if run.is_over or before.engine_stall is None:
        return Stopped(run, asked)
    until = now().timestamp() + WAIT
    while now().timestamp() < until:
        pause()
        run = runs.run(run.run_id)
        if run.is_over or _moved(before, view.status(run, _history(records))):
            return Stopped(run, asked, before.engine_problem)
    jobs, obstacle = _jobs_stopped(records, _REASON)
    return Stopped(
        run,
        asked,
        before.engine_problem,
        acts=False,
        jobs=jobs,
        obstacle=obstacle,
        command=resuming(experiment_run, history),
        goes_on=has_trials(history),
    )


def _after_its_end(run: Run, records: Records | None) -> Stopped:
    """Stops the jobs that the steps of a run that is over have left, as if `finish` failed."""
    try:
        left = records.going() if records is not None else ()
    except RunnerError:  # whether there are any stays unknown
        left = ()
    if not left:
        return Stopped(run, asked=False)
    jobs, obstacle = _jobs_stopped(records, _LEFT)
    return Stopped(run, asked=False, jobs=jobs, obstacle=obstacle)


def _jobs_stopped(records: Records | None, reason: str) -> tuple[tuple[str, ...] | None, str]:
    """Stops a run's jobs; returns their names, or None and why they could not be stopped."""
    if records is None:
        return None, "no kubeconfig leads to them"
    try:
        return tuple(records.stop(reason)), ""
    except RunnerError as error:
        return None, str(error)


def _asked_to_end(runs: Runs, run: Run) -> tuple[Run, bool]:
    """Asks a run to end, unless it ends already; returns the run and whether it was asked."""
    if run.state == "CANCELING":
        return run, False
    try:
        runs.stop(run.run_id)
    except RunnerError:
        run = runs.run(run.run_id)
        if run.is_over or run.state == "CANCELING":
            return run, False
        raise
    return runs.run(run.run_id), True


def _moved(before: RunStatus, after: RunStatus) -> bool:
    """Returns whether a step has changed; the run's own state does not show that Argo acts."""
    return sorted(map(str, before.run.steps)) != sorted(map(str, after.run.steps))


def _history(records: Records | None) -> History | None:
    try:
        return records.history() if records is not None else None
    except RunnerError:
        return None
