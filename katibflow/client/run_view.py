"""How a run stands: what Kubeflow Pipelines says of it, put right by what Kubernetes has of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from katibflow.client.base import Run
from katibflow.client.reading import Sweep
from katibflow.client.records import Records
from katibflow.client.stalls import (
    Facts,
    Stall,
    advice,
    is_overdue,
    last_change,
    quiet_engine,
    seems_to_run,
    stall_of,
    stall_text,
)
from katibflow.client.workflow import Workflow
from katibflow.client.workflow_reader import WorkflowReader
from katibflow.errors import RunnerError
from katibflow.study.history import History

__all__ = ["Clock", "RunView", "Standing", "now_in_utc", "with_workflow"]

Clock = Callable[[], datetime]
"""Tells the time, with its time zone."""


def now_in_utc() -> datetime:
    """The time, with its time zone."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Standing:
    """How a run stood at one look.

    Attributes:
        run: The run; its steps, and what made them fail, are the Workflow's where that was read.
        stall: That it stands still, if it does.
        seen: The same in words; empty if it does not.
        advice: What to do about it, a line each.
        quiet: That the engine may not act, if there is cause to doubt it. A run may move all the
            same, as while a trial runs on.
        doubt: Why it may not act, in words.
    """

    run: Run
    stall: Stall | None = None
    seen: str = ""
    advice: tuple[str, ...] = ()
    quiet: Stall | None = None
    doubt: str = ""

    @property
    def message(self) -> str:
        """What a person is told; empty if the run does not stand still."""
        return "\n".join(filter(None, (self.seen, *self.advice)))


class RunView:
    """Looks at one run, now and then.

    Args:
        sweep: The run.
        records: Its trials; None where they cannot be read.
        reader: Its Workflow; None where there is no cluster to read it from.
        now: The clock.
    """

    def __init__(
        self,
        sweep: Sweep,
        records: Records | None = None,
        reader: WorkflowReader | None = None,
        now: Clock = now_in_utc,
    ) -> None:
        self._sweep = sweep
        self._records = records
        self._reader = reader
        self._now = now
        self._seen: object = None
        self._moved: datetime | None = None

    def standing(self, run: Run, history: History | None) -> Standing:
        """How the run stands.

        Args:
            run: As Kubeflow Pipelines has it now.
            history: Its trials as they are now, if they are known.
        """
        workflow = None
        if self._reader is not None:
            known = run.changed or run.created
            expected = is_overdue(run, self._now(), known)  # KFP may still be about to make it
            workflow = self._reader.workflow(run.run_id, expected)
        run = with_workflow(run, workflow)
        changed = self._last_change(run, history, workflow)
        now = self._now()
        quiet = quiet_engine(run, now, workflow)
        doubt = stall_text(quiet, now) if quiet is not None else ""
        stall = None
        if is_overdue(run, now, changed):
            stall = stall_of(now, changed, self._facts(run, workflow))
        if stall is None:
            return Standing(run, quiet=quiet, doubt=doubt)
        namespace = self._reader.namespace if self._reader is not None else ""
        seen = stall_text(stall, now)
        what_to_do = advice(stall, self._sweep, namespace)
        if quiet is None:
            quiet, doubt = stall, seen
        return Standing(run, stall, seen, what_to_do, quiet, doubt)

    def untold(self) -> tuple[str, ...]:
        """Why something could not be read, each reason once."""
        return self._reader.untold() if self._reader is not None else ()

    def _last_change(
        self, run: Run, history: History | None, workflow: Workflow | None
    ) -> datetime:
        """By the times that were written, and by this clock where a change was seen since."""
        trials = history.trials if history is not None else ()
        seen = (run.state, run.steps, tuple((each.number, each.state) for each in trials))
        if self._seen not in (None, seen):
            self._moved = self._now()
        self._seen = seen
        written = last_change(run, history, workflow)
        return written if self._moved is None else max(written, self._moved)

    def _facts(self, run: Run, workflow: Workflow | None) -> Facts:
        jobs = None
        if self._records is not None:
            try:
                jobs = len(self._records.going())
            except RunnerError:  # then it is not known, and what can be said is said without it
                jobs = None
        pods = self._reader.pods(run.run_id) if self._reader is not None and not jobs else None
        return Facts(seems_to_run(run), workflow, jobs, pods)


def with_workflow(run: Run, workflow: Workflow | None) -> Run:
    """The run with the steps that its Workflow tells, and with what it says of a failure."""
    if workflow is None:
        return run
    steps = workflow.steps or run.steps
    if run.state not in ("FAILED", "CANCELED"):
        return replace(run, steps=steps)
    failures = (f"{each.step}: {each.message}" for each in workflow.failures)
    told = (text for text in (workflow.message, *failures) if text and text not in run.error)
    return replace(run, steps=steps, causes=tuple(dict.fromkeys(told)))
