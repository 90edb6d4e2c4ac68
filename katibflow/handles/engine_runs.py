"""What the runs of all engines have in common as handles: names, snapshots, logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from katibflow.errors import RunnerError
from katibflow.handles.base import LogLines, Snapshot

if TYPE_CHECKING:
    from katibflow.client.base import Run, Runs
    from katibflow.client.reading import ExperimentRun
    from katibflow.client.run_view import RunStatus
    from katibflow.study.history import History

__all__ = ["FOLLOW_POLL", "STOP_POLL", "EngineRun", "lines_or_error"]

FOLLOW_POLL = 5.0
"""Seconds between two looks at a run that is followed, if the user says nothing else."""

STOP_POLL = 2.0
"""Seconds between two looks at whether a run stops."""


class EngineRun:
    """The part of a `RunHandle` that does not depend on what runs the run.

    Args:
        runs: Has the run.
        experiment_run: The run and its Experiment.
    """

    on: str
    unseen: str
    """Why trials may not be readable, as a phrase."""

    files = None

    def __init__(self, runs: Runs, experiment_run: ExperimentRun) -> None:
        self._runs = runs
        self._experiment_run = experiment_run

    @property
    def run_id(self) -> str:
        """The engine's id of the run."""
        return self._experiment_run.run.run_id

    @property
    def name(self) -> str:
        """The run's name in the engine."""
        return self._experiment_run.run.name

    @property
    def experiment(self) -> str:
        """The Experiment's name, which the names of its runs begin with."""
        return self._experiment_run.experiment.name

    @property
    def argument(self) -> str:
        """The engine's id of the run."""
        return self.run_id

    @property
    def job_run(self) -> str:
        """The label ``katibflow/run`` of the run's jobs."""
        from katibflow.study.resume import run_name

        return run_name(self.run_id)

    @property
    def link(self) -> str:
        """Where the rest is."""
        raise NotImplementedError

    def state(self) -> str:
        """Returns the run's present state."""
        return self._runs.run(self.run_id).state

    def _snapshot(
        self,
        run: Run,
        history: History | None,
        status: RunStatus | None = None,
        problems: tuple[str, ...] = (),
    ) -> Snapshot:
        from katibflow.client.following import ending_of
        from katibflow.client.stalls import stall_data
        from katibflow.client.tasks import counted

        return Snapshot(
            on=self.on,
            run_id=run.run_id,
            name=run.name,
            experiment=self.experiment,
            state=run.state,
            created=run.created,
            history=history,
            ending=ending_of(run, history, self._experiment_run.fault),
            link=self.link,
            stall=stall_data(status.stall, status.message) if status is not None else None,
            problems=problems,
            unseen="" if history is not None else f"{self.unseen}: {self.link}",
            steps=() if history is not None else counted(run),
        )


def lines_or_error(lines: LogLines, error: str) -> LogLines:
    """Yields lines.

    Raises:
        RunnerError: There is none.
    """
    is_empty = True
    for each in lines:
        is_empty = False
        yield each
    if is_empty:
        raise RunnerError(error)
