"""The handle of a run in Kubeflow Pipelines: waits for it, reads its result, stops it."""

from __future__ import annotations

import sys
import threading
from html import escape

from katibflow.api.result import Result
from katibflow.client.base import Pipelines, Run
from katibflow.client.following import ending_of
from katibflow.client.reading import ExperimentRun
from katibflow.client.records import Records
from katibflow.client.run_view import RunView
from katibflow.client.stopping import Stopped, stop_run
from katibflow.client.submitting import Recurring
from katibflow.client.watching import watch
from katibflow.client.workflow_reader import WorkflowReader
from katibflow.errors import RunnerError

__all__ = ["Recurring", "RemoteRun"]


class RemoteRun:
    """A run that was submitted. The run does not depend on this object and goes on without it.

    Args:
        pipelines: The installation that has the run.
        experiment_run: The run and its Experiment.
        records: Reads the trials from their jobs; None where the cluster cannot be reached.
        reader: Reads the run's Workflow; None where the cluster cannot be reached.
    """

    def __init__(
        self,
        pipelines: Pipelines,
        experiment_run: ExperimentRun,
        records: Records | None,
        reader: WorkflowReader | None = None,
    ) -> None:
        self._pipelines = pipelines
        self._experiment_run = experiment_run
        self._records = records
        self._reader = reader

    @property
    def run_id(self) -> str:
        """KFP's id of the run, which ``katibflow show`` takes too."""
        return self._experiment_run.run.run_id

    @property
    def name(self) -> str:
        """The run's name in the UI."""
        return self._experiment_run.run.name

    @property
    def link(self) -> str:
        """The address of the run's page in the UI; "" if it is not known."""
        return self._pipelines.link(f"runs/details/{self.run_id}")

    @property
    def state(self) -> str:
        """The run's present state in KFP, as ``RUNNING`` or ``SUCCEEDED``.

        Raises:
            RunnerError: The server does not answer, or refuses.
        """
        return self._pipelines.run(self.run_id).state

    def wait(self, *, poll: float = 5.0, progress: bool = True) -> Result:
        """Follows the run to its end; an interrupt ends the waiting, not the run.

        It goes on waiting for a run that has stalled; with ``progress`` it reports a stall once.

        Args:
            poll: Seconds between two requests, above 0.
            progress: Whether to show the progress on standard output.

        Returns:
            The result, even if the run failed: see its ``succeeded``.

        Raises:
            RunnerError: The server is unreachable for 10 minutes, or refuses; or the trials' jobs
                cannot be read from here.
        """
        pause = threading.Event()
        run, _ = watch(
            self._pipelines,
            self._experiment_run,
            self._records,
            self._view(),
            lambda: pause.wait(poll),
            (lambda: sys.stdout) if progress else None,
        )
        return self._result(run)

    def result(self) -> Result:
        """Returns the run's result as it is now.

        Raises:
            RunnerError: The run or its trials cannot be read.
        """
        run = self._pipelines.run(self.run_id)
        if run.is_over:
            run = self._view().status(run, None).run
        return self._result(run)

    def stop(self, *, poll: float = 2.0) -> Stopped:
        """Terminates the run; its last step then stops the trials that still run.

        If the run's steps have not changed for long, or its Workflow is full, this waits half a
        minute for the engine to act, and else stops the trials' jobs from here. Stopping a run
        again is no error.

        Args:
            poll: Seconds between two requests in that time, above 0.

        Returns:
            The outcome; its ``lines()`` describe it.

        Raises:
            RunnerError: The server refuses.
        """
        pause = threading.Event()
        return stop_run(
            self._pipelines,
            self._experiment_run,
            self._records,
            self._reader,
            lambda: pause.wait(poll),
        )

    def _view(self) -> RunView:
        return RunView(self._experiment_run, self._records, self._reader)

    def _result(self, run: Run) -> Result:
        if self._records is None:
            raise RunnerError(
                f"{self.name} is {run.state}; its trials are read from their jobs, and no "
                f"kubeconfig leads to those; the run's page has them: {self.link or self.run_id}"
            )
        history = self._records.history()
        return Result(history, ending_of(run, history, self._experiment_run.fault))

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the name, the id and a link to the run's page."""
        from katibflow.report.words import log_link

        return f"<p><b>{log_link(self.name, self.link)}</b> {escape(self.run_id)}</p>"

    def __repr__(self) -> str:
        return f"<RemoteRun {self.name}: {self.run_id} {self.link}>"
