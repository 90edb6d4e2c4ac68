"""Reads the status of a run: KFP's answer, corrected by the run's Workflow, jobs and pods.

KFP's own record of the steps stops changing when Argo packs a large Workflow. When a run counts as
stalled is decided in `stalls`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from katibflow.client.base import Run
from katibflow.client.reading import ExperimentRun
from katibflow.client.records import Records
from katibflow.client.stalls import (
    Facts,
    Stall,
    advice,
    engine_stall_of,
    is_overdue,
    last_change,
    seems_to_run,
    stall_of,
    stall_text,
)
from katibflow.client.workflow import Workflow
from katibflow.client.workflow_reader import Workflows
from katibflow.errors import RunnerError
from katibflow.study.history import History

__all__ = ["Clock", "RunStatus", "RunView", "now_in_utc", "with_workflow"]

Clock = Callable[[], datetime]
"""Returns the present time, with a time zone."""


def now_in_utc() -> datetime:
    """Returns the present time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class RunStatus:
    """The status of a run at one time.

    Attributes:
        run: The run; its steps, and why they failed, are from the Workflow where that was read.
        stall: The run's stall; None if it has not stalled.
        seen: The stall in words; "" without a stall.
        advice: What to do about the stall, a line each.
        engine_stall: Signs that the engine may not act; None without any. Even so a run may go
            on, as while a trial takes hours.
        engine_problem: The same in words; "" without any.
    """

    run: Run
    stall: Stall | None = None
    seen: str = ""
    advice: tuple[str, ...] = ()
    engine_stall: Stall | None = None
    engine_problem: str = ""

    @property
    def message(self) -> str:
        """The stall and the advice, for a person; "" without a stall."""
        return "\n".join(filter(None, (self.seen, *self.advice)))


class RunView:
    """Reads the status of one run, again and again.

    Args:
        experiment_run: The run.
        records: Reads the run's trials; None where they cannot be read.
        reader: Reads the run's Workflow; None where there is no cluster.
        now: The clock.
        reported: Returns the Workflow of a run that has failed as Kubeflow Pipelines has it, for
            its reasons; None to do without.
    """

    def __init__(
        self,
        experiment_run: ExperimentRun,
        records: Records | None = None,
        reader: Workflows | None = None,
        now: Clock = now_in_utc,
        reported: Callable[[str], Workflow | None] | None = None,
    ) -> None:
        self._reported = reported
        self._experiment_run = experiment_run
        self._records = records
        self._reader = reader
        self._now = now
        self._seen: object = None
        self._moved: datetime | None = None

    def status(self, run: Run, history: History | None) -> RunStatus:
        """Returns the run's status.

        Args:
            run: The run as Kubeflow Pipelines has it now.
            history: The run's trials as they are now, or None if they are not known.
        """
        workflow, is_gone = None, False
        if self._reader is not None:
            known = run.changed or run.created
            # KFP may not have created it yet, and deletes it after the run's end.
            expected = is_overdue(run, self._now(), known) or bool(run.steps and not run.is_over)
            workflow = self._reader.workflow(run.run_id, expected)
            is_gone = expected and self._reader.is_missing(run.run_id)
        elif self._reported is not None and run.state == "FAILED":
            workflow = self._reported(run.run_id)
        run = with_workflow(run, workflow)
        changed = self._last_change(run, history, workflow)
        now = self._now()
        engine_stall = engine_stall_of(run, now, workflow)
        if is_gone:
            engine_stall = Stall(changed, engine_seen=False, is_gone=True)
        engine_problem = stall_text(engine_stall, now) if engine_stall is not None else ""
        stall = None
        if is_overdue(run, now, changed):
            stall = stall_of(now, changed, self._facts(run, workflow, is_gone))
        if stall is None:
            return RunStatus(run, engine_stall=engine_stall, engine_problem=engine_problem)
        namespace = self._reader.namespace if self._reader is not None else ""
        seen = stall_text(stall, now)
        what_to_do = advice(stall, self._experiment_run, namespace, history)
        if engine_stall is None:
            engine_stall, engine_problem = stall, seen
        return RunStatus(run, stall, seen, what_to_do, engine_stall, engine_problem)

    def new_problems(self) -> tuple[str, ...]:
        """Returns why something could not be read; returns each reason once."""
        return self._reader.new_problems() if self._reader is not None else ()

    def _last_change(
        self, run: Run, history: History | None, workflow: Workflow | None
    ) -> datetime:
        """Returns when the run last changed: as it was written, or as this clock saw it later."""
        trials = history.trials if history is not None else ()
        seen = (run.state, run.steps, tuple((each.number, each.state) for each in trials))
        if self._seen not in (None, seen):
            self._moved = self._now()
        self._seen = seen
        written = last_change(run, history, workflow)
        return written if self._moved is None else max(written, self._moved)

    def _facts(self, run: Run, workflow: Workflow | None, is_gone: bool) -> Facts:
        jobs = None
        if self._records is not None:
            try:
                jobs = len(self._records.going())
            except RunnerError:  # the number of jobs stays unknown
                jobs = None
        pods = self._reader.pods(run.run_id) if self._reader is not None and not jobs else None
        return Facts(seems_to_run(run), workflow, jobs, pods, is_gone)


def with_workflow(run: Run, workflow: Workflow | None) -> Run:
    """Returns the run with its Workflow's steps, and with the Workflow's reasons for a failure."""
    if workflow is None:
        return run
    steps = workflow.steps or run.steps
    if run.state not in ("FAILED", "CANCELED"):
        return replace(run, steps=steps)
    failures = (f"{each.step}: {each.message}" for each in workflow.failures)
    causes = (text for text in (workflow.message, *failures) if text and text not in run.error)
    return replace(run, steps=steps, causes=tuple(dict.fromkeys(causes)))
