"""Stops a run; of one whose engine does not act, the trials' jobs too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from katibflow.client.base import Pipelines, Run
from katibflow.client.reading import Sweep
from katibflow.client.records import Records
from katibflow.client.run_view import Clock, RunView, Standing, now_in_utc
from katibflow.client.stalls import resuming
from katibflow.client.workflow_reader import WorkflowReader
from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.job_object import RUN
from katibflow.study.history import History
from katibflow.study.resume import run_name

__all__ = ["WAIT", "Stopped", "stop_run"]

WAIT = 30.0
"""Seconds in which an engine that acts does something; Argo looks at a Workflow once in 10 s."""

_REASON = "the run was stopped, and its engine does not act"


@dataclass(frozen=True)
class Stopped:
    """What became of a run that was to be stopped.

    Attributes:
        run: The run as it was last seen.
        asked: Whether it was asked to end now; False if it had ended, or had been asked before.
        doubt: Why the engine might not act, in words; empty if there was no cause to doubt it.
        acts: Whether something is known to move in it, or nothing is known against that.
        jobs: Names of the trials' jobs that were stopped here; None if that was not for us to do,
            or not possible.
        hindrance: Why it was not possible.
        command: What goes on from the run's trials, if the engine does not act.
    """

    run: Run
    asked: bool
    doubt: str = ""
    acts: bool = True
    jobs: tuple[str, ...] | None = None
    hindrance: str = ""
    command: str = ""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do for the one who stops it."""
        return self.acts or self.jobs is not None

    def lines(self) -> list[str]:
        """The same for a person."""
        name = self.run.name
        if self.run.is_over:
            return [f"{name} is over{'' if self.asked else ' already'}: {self.run.state}"]
        if self.acts:
            being = "is being stopped" if self.asked else "is being stopped already"
            return [f"{name} {being}; its step finish then stops its jobs"]
        return [
            self.doubt,
            f"{name} was asked to end, and the engine does not act: nothing has changed in "
            f"{WAIT:.0f} s, and Kubeflow Pipelines goes on to show it as {self.run.state}",
            self._jobs_text(),
            "a new run goes on from its trials:",
            f"  {self.command}",
        ]

    def _jobs_text(self) -> str:
        if self.jobs is None:
            selector = f"{RUN}={run_name(self.run.run_id)}"
            return (
                f"its trials' jobs, with the label {selector}, could not be stopped from here: "
                f"{self.hindrance}"
            )
        if not self.jobs:
            return "0 jobs were stopped: no job of its trials goes on"
        plural = "s were" if self.jobs[1:] else " was"
        return f"{len(self.jobs)} job{plural} stopped: {', '.join(self.jobs)}"


def stop_run(
    pipelines: Pipelines,
    sweep: Sweep,
    records: Records | None,
    reader: WorkflowReader | None,
    pause: Callable[[], object],
    now: Clock = now_in_utc,
) -> Stopped:
    """Asks a run to end; where the engine may not act, waits for that; if in vain, stops its jobs.

    Args:
        pipelines: Where it runs.
        sweep: The run.
        records: Its trials; None where they cannot be read.
        reader: Its Workflow; None where there is no cluster to read it from.
        pause: Waits a while between two looks.
        now: The clock.

    Raises:
        RunnerError: The server refuses.
    """
    run = pipelines.run(sweep.run.run_id)
    if run.is_over:
        return Stopped(run, asked=False)
    run, asked = _asked_to_end(pipelines, run)
    view = RunView(sweep, records, reader, now)
    before = view.standing(run, _history(records))
    if run.is_over or before.quiet is None:
        return Stopped(run, asked)
    until = now().timestamp() + WAIT
    while now().timestamp() < until:
        pause()
        run = pipelines.run(run.run_id)
        if run.is_over or _moved(before, view.standing(run, _history(records))):
            return Stopped(run, asked, before.doubt)
    jobs: tuple[str, ...] | None = None
    hindrance = "no kubeconfig leads to them"
    if records is not None:
        try:
            jobs = tuple(records.stop(_REASON))
        except RunnerError as error:
            hindrance = str(error)
    return Stopped(
        run,
        asked,
        before.doubt,
        acts=False,
        jobs=jobs,
        hindrance="" if jobs is not None else hindrance,
        command=resuming(sweep),
    )


def _asked_to_end(pipelines: Pipelines, run: Run) -> tuple[Run, bool]:
    """Asks for it once; a run that has been asked before, or ends just now, is no error."""
    if run.state == "CANCELING":
        return run, False
    try:
        pipelines.stop(run.run_id)
    except RunnerError:
        run = pipelines.run(run.run_id)
        if run.is_over or run.state == "CANCELING":
            return run, False
        raise
    return pipelines.run(run.run_id), True


def _moved(before: Standing, after: Standing) -> bool:
    """Whether a step has changed; that KFP calls the run CANCELING is its own doing."""
    return sorted(map(str, before.run.steps)) != sorted(map(str, after.run.steps))


def _history(records: Records | None) -> History | None:
    try:
        return records.history() if records is not None else None
    except RunnerError:
        return None
