"""A run in Kubeflow Pipelines, for a notebook or a program: followed, read and stopped."""

from __future__ import annotations

import sys
import threading

from katibflow.api.result import Result
from katibflow.client.base import Pipelines, Run
from katibflow.client.following import ending_of
from katibflow.client.reading import Sweep
from katibflow.client.records import Records
from katibflow.client.run_view import RunView
from katibflow.client.stopping import Stopped, stop_run
from katibflow.client.submitting import Recurring
from katibflow.client.watching import watch
from katibflow.client.workflow_reader import WorkflowReader
from katibflow.errors import RunnerError

__all__ = ["Recurring", "RemoteRun"]


class RemoteRun:
    """A run that was submitted; it goes on whatever becomes of this object.

    Args:
        pipelines: Where it runs.
        sweep: What it is about.
        records: Its trials, from their jobs; None where the cluster cannot be reached.
        reader: Its Workflow; None where the cluster cannot be reached.
    """

    def __init__(
        self,
        pipelines: Pipelines,
        sweep: Sweep,
        records: Records | None,
        reader: WorkflowReader | None = None,
    ) -> None:
        self._pipelines = pipelines
        self._sweep = sweep
        self._records = records
        self._reader = reader

    @property
    def run_id(self) -> str:
        """KFP's id, which ``katibflow show`` takes too."""
        return self._sweep.run.run_id

    @property
    def name(self) -> str:
        """Its name in the UI."""
        return self._sweep.run.name

    @property
    def link(self) -> str:
        """Its page in the UI; empty if the installation does not say where that is."""
        return self._pipelines.link(f"runs/details/{self.run_id}")

    @property
    def state(self) -> str:
        """KFP's state of it now, as ``RUNNING`` or ``SUCCEEDED``.

        Raises:
            RunnerError: The server cannot be asked.
        """
        return self._pipelines.run(self.run_id).state

    def wait(self, *, poll: float = 5.0, progress: bool = True) -> Result:
        """Follows the run to its end; interrupting that leaves the run alone.

        A run that stands still is waited for, too; with ``progress`` it is said once.

        Args:
            poll: Seconds between two looks.
            progress: Whether to show what happens on standard output.

        Returns:
            The result, also when the run failed: see its ``succeeded``.

        Raises:
            RunnerError: The server is out of reach for 10 minutes, or refuses; or the trials'
                jobs cannot be read from here.
        """
        pause = threading.Event()
        run, _ = watch(
            self._pipelines,
            self._sweep,
            self._records,
            self._view(),
            lambda: pause.wait(poll),
            (lambda: sys.stdout) if progress else None,
        )
        return self._result(run)

    def result(self) -> Result:
        """The run as it is now.

        Raises:
            RunnerError: It cannot be read.
        """
        run = self._pipelines.run(self.run_id)
        if run.is_over:
            run = self._view().standing(run, None).run
        return self._result(run)

    def stop(self, *, poll: float = 2.0) -> Stopped:
        """Terminates the run; its last step then stops the trials that still run.

        Of a run whose steps have not changed for long, or whose Workflow is full, it is seen for
        half a minute whether the engine acts; if not, the trials' jobs are stopped from here. To
        stop a run again is no error.

        Args:
            poll: Seconds between two looks in that time.

        Returns:
            What became of it; its ``lines()`` say it.

        Raises:
            RunnerError: The server refuses.
        """
        pause = threading.Event()
        return stop_run(
            self._pipelines, self._sweep, self._records, self._reader, lambda: pause.wait(poll)
        )

    def _view(self) -> RunView:
        return RunView(self._sweep, self._records, self._reader)

    def _result(self, run: Run) -> Result:
        if self._records is None:
            raise RunnerError(
                f"{self.name} is {run.state}; its trials are read from their jobs, and no "
                f"kubeconfig leads to those; the run's page has them: {self.link or self.run_id}"
            )
        history = self._records.history()
        return Result(history, ending_of(run, history))

    def __repr__(self) -> str:
        return f"<RemoteRun {self.name}: {self.run_id} {self.link}>"
