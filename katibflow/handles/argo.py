"""Runs in Argo Workflows alone as handles: the Workflow, and the trials' jobs beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from katibflow.errors import RunnerError
from katibflow.handles.base import (
    Configured,
    LogLines,
    Pause,
    RunHandle,
    RunSource,
    Snapshot,
    Streams,
    Where,
)
from katibflow.handles.engine_runs import FOLLOW_POLL, STOP_POLL, EngineRun, lines_or_error

if TYPE_CHECKING:
    from katibflow.client.argo_runs import ArgoRuns
    from katibflow.client.base import Run
    from katibflow.client.reading import ExperimentRun
    from katibflow.client.records import JobRecords
    from katibflow.client.run_view import RunView
    from katibflow.client.stopping import Stopped
    from katibflow.study.history import History

__all__ = ["NAME", "SOURCE", "ArgoRun", "ArgoSource"]

NAME = "argo"


class ArgoRun(EngineRun):
    """A Workflow of an Experiment; a `RunHandle`.

    Args:
        runs: The namespace that has the run.
        experiment_run: The run and its Experiment.
        where: What the user says of where runs are.
    """

    on = NAME
    unseen = "no trials can be read: their jobs were deleted, and the step finish has the result"

    def __init__(self, runs: ArgoRuns, experiment_run: ExperimentRun, where: Where) -> None:
        super().__init__(runs, experiment_run)
        self._argo = runs
        self._where = where

    @property
    def argument(self) -> str:
        """The Workflow's name, with the options that lead to it."""
        options = {"--namespace": self._argo.namespace, "--context": self._where.context}
        given = [f"{option} {value}" for option, value in options.items() if value]
        return " ".join([self.name, "--on", NAME, *given])

    @property
    def link(self) -> str:
        """The address of the Workflow's page, or its namespace and name without a server."""
        return self._argo.link(self.name)

    def snapshot(self, *, brief: bool = False) -> Snapshot:
        """Returns the run as it is now; a brief one is of the run as it was found."""
        run = self._experiment_run.run
        if not brief:
            run = self._argo.run(self.run_id)
        history = self._records().history()
        status = self._view().status(run, history)
        problems = () if brief else self._failed_steps(status.run)
        return self._snapshot(status.run, _plausible(run.state, history), status, problems)

    def follow(
        self, pause: Pause, stream: Streams | None, *, poll: float | None = None
    ) -> Snapshot:
        """Shows the run until it is over; goes on for a run that has stalled, and says so once."""
        from katibflow.client.watching import watch

        run, history = watch(
            self._argo,
            self._experiment_run,
            self._records(),
            self._view(),
            lambda: pause(FOLLOW_POLL if poll is None else poll),
            stream,
        )
        return self._snapshot(run, history, None, self._failed_steps(run))

    def _failed_steps(self, run: Run) -> tuple[str, ...]:
        """Returns the last lines of a run's failed steps, or none if they cannot be read."""
        from katibflow.client.logs import failed_steps, titled
        from katibflow.client.reading import FIRST_STEPS

        if not run.is_over:
            return ()
        told = FIRST_STEPS if self._experiment_run.fault else ()
        with suppress(RunnerError):
            return tuple(titled(failed_steps(self._argo.api, run), told))
        return ()

    def logs(
        self, trial: int | None, *, follow: bool = False, poll: float | None = None
    ) -> LogLines:
        """Yields what a trial printed, or the steps, as long as their pods are there."""
        from katibflow.client.step_logs import lines_of_steps
        from katibflow.client.trial_logs import lines_of_trial

        api, found = self._argo.api, self._experiment_run
        seconds = FOLLOW_POLL if poll is None else poll
        if trial is None:
            what, lines = lines_of_steps(api, self._argo, found.run, follow=follow, poll=seconds)
        else:
            what, lines = lines_of_trial(api, self._records(), trial, follow=follow, poll=seconds)
        yield from lines_or_error(lines, what)

    def stop(self, *, poll: float | None = None) -> Stopped:
        """Stops the Workflow, whose exit handler then stops the trials that still run.

        If nothing has changed in the Workflow for long, or it is full, this waits half a minute for
        Argo to act, and else stops the trials' jobs from here.
        """
        from katibflow.client.stopping import stop_run

        pause, seconds = threading.Event(), STOP_POLL if poll is None else poll
        return stop_run(
            self._argo,
            self._experiment_run,
            self._records(),
            self._argo,
            lambda: pause.wait(seconds),
        )

    def _records(self) -> JobRecords:
        from katibflow.client.records import JobRecords

        return JobRecords.of(self._argo.api, self._experiment_run)

    def _view(self) -> RunView:
        from katibflow.client.run_view import RunView

        return RunView(self._experiment_run, self._records(), self._argo)


def _plausible(state: str, history: History) -> History | None:
    """Returns the trials, or None if a run that succeeded has none: somebody deleted the jobs."""
    return history if history.trials or state != "SUCCEEDED" else None


class ArgoSource:
    """Finds the runs of Experiments in a namespace with Argo Workflows; a `RunSource`."""

    summary = "in Argo Workflows alone"
    wanted = "a Workflow's name, its uid, or the uid's first letters"

    def configured(self, where: Where) -> Configured:
        """Returns whether this pod's cluster or a kubeconfig leads there."""
        from katibflow.client.access import Access, is_found

        if where.on == NAME:
            return Configured.GIVEN
        is_installed = bool(find_spec("kubernetes"))
        found = is_installed and is_found(Access(context=where.context))
        return Configured.FOUND if found else Configured.NO

    def find(self, wanted: str, where: Where) -> Sequence[RunHandle]:
        """Returns the runs of a name, a uid, or the first letters of one."""
        from katibflow.client.argo_runs import NoArgo, NoRight

        if not wanted or "/" in wanted:
            return ()
        runs = _reached(where)
        try:
            return [ArgoRun(runs, each, where) for each in runs.find(wanted)]
        except (NoArgo, NoRight):  # a cluster for Kubeflow Pipelines alone, or trials
            if where.on == NAME:
                raise
            return ()

    def latest(self, where: Where, limit: int) -> Iterable[RunHandle]:
        """Yields the latest runs of the namespace."""
        from katibflow.client.argo_runs import NoArgo, NoRight

        runs = _reached(where)
        try:
            for each in runs.latest(limit):
                yield ArgoRun(runs, each, where)
        except (NoArgo, NoRight):  # a cluster for Kubeflow Pipelines alone, or trials
            if where.on == NAME:
                raise


def _reached(where: Where) -> ArgoRuns:
    from katibflow.client.argo_runs import ArgoRuns
    from katibflow.client.argo_submitting import reach

    return ArgoRuns(reach(where.namespace, where.context))


SOURCE: RunSource = ArgoSource()
