"""The handle of a run, wherever it is: finds it, waits for it, reads its result, stops it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from katibflow.api.result import Result, TrialResult
from katibflow.client.submitting import Recurring
from katibflow.errors import InputError, KatibflowError, RunnerError
from katibflow.handles.base import Configured, RunHandle, Snapshot, StopOutcome, Where
from katibflow.handles.registry import find_run, latest_runs
from katibflow.printing import warn

if TYPE_CHECKING:
    from katibflow.handles.base import LogLines

__all__ = ["Recurring", "Run"]


class Run:
    """A run that was started before, here or elsewhere; it goes on without this object.

    `Experiment.submit` returns one; `find` and `latest` return those that are there already.

    Args:
        handle: The run, from `katibflow.handles`.
    """

    def __init__(self, handle: RunHandle) -> None:
        self._handle = handle

    @classmethod
    def find(
        cls,
        run: str | Path,
        *,
        on: str | None = None,
        runs: str | Path = "runs",
        host: str | None = None,
        namespace: str | None = None,
        context: str | None = None,
        ca_file: str | Path | None = None,
    ) -> Run:
        """Returns the run of a path, a name or an id, as ``katibflow show`` finds it.

        Args:
            run: The run's folder or history file; or its name, its id, or the id's first letters.
            on: The only place to look: ``local``, ``kfp``, ``argo`` or ``kubernetes``; by default
                each to which something leads.
            runs: Folder that holds a folder for each run on this machine.
            host: The address of Kubeflow Pipelines; see `Experiment.submit`.
            namespace: The namespace of the runs and their jobs.
            context: The kubeconfig's context; by default the current one.
            ca_file: File with the certificates to trust, in place of the usual ones.

        Raises:
            InputError: No run or several runs match.
            RunnerError: What may have the run does not answer, or refuses.
        """
        return cls(find_run(str(run), _where(on, runs, host, namespace, context, ca_file)))

    @classmethod
    def latest(
        cls,
        limit: int = 20,
        *,
        on: str | None = None,
        runs: str | Path = "runs",
        host: str | None = None,
        namespace: str | None = None,
        context: str | None = None,
        ca_file: str | Path | None = None,
    ) -> list[Run]:
        """Returns the latest runs: of this machine, then those elsewhere, as ``katibflow list``.

        A place that only a kubeconfig leads to, and that does not answer, is left out.

        Args:
            limit: How many of the latest runs of each place are looked at, from 1.
            on: The only place to look; see `find`.
            runs: Folder that holds a folder for each run on this machine.
            host: The address of Kubeflow Pipelines; see `Experiment.submit`.
            namespace: The namespace of the runs and their jobs.
            context: The kubeconfig's context; by default the current one.
            ca_file: File with the certificates to trust, in place of the usual ones.

        Raises:
            InputError: An argument is wrong.
            RunnerError: A place that is named here does not answer, or refuses.
        """
        found: list[Run] = []
        where = _where(on, runs, host, namespace, context, ca_file)
        for each in latest_runs(where, limit):
            if not isinstance(each.found, KatibflowError):
                found.append(cls(each.found))
            elif each.configured is Configured.GIVEN:
                raise each.found
        return found

    @property
    def on(self) -> str:
        """Where the run is: ``local``, ``kfp``, ``argo`` or ``kubernetes``."""
        return self._handle.on

    @property
    def run_id(self) -> str:
        """The run's id, which ``katibflow show`` takes too; KFP's own, or the Workflow's uid."""
        return self._handle.run_id

    @property
    def name(self) -> str:
        """The run's name: in the UI, or its folder's."""
        return self._handle.name

    @property
    def link(self) -> str:
        """The run's folder; or its page in the UI, or its id if that is not known."""
        return self._handle.link

    @property
    def state(self) -> str:
        """The run's present state, as ``RUNNING``, ``SUCCEEDED`` or ``INTERRUPTED``.

        Raises:
            RunnerError: What has the run does not answer, or refuses.
        """
        return self._handle.state()

    @property
    def trials(self) -> tuple[TrialResult, ...]:
        """All trials by number, as they are now; see `result` for errors."""
        return self.result().trials

    @property
    def best(self) -> TrialResult | None:
        """The best trial so far, or None; see `Result.best`, and `result` for errors."""
        return self.result().best

    def wait(self, *, poll: float | None = None, progress: bool = True) -> Result:
        """Follows the run to its end; an interrupt ends the waiting, not the run.

        It goes on waiting for a run that has stalled; with ``progress`` it reports a stall once.

        Args:
            poll: Seconds between two looks, above 0; by default 0.5 on this machine, 5 elsewhere.
            progress: Whether to show the progress on standard output.

        Returns:
            The result, even if the run failed: see its ``succeeded``.

        Raises:
            RunnerError: The server is unreachable for 10 minutes, or refuses; or the trials' jobs
                cannot be read from here.
        """
        pause = threading.Event()
        stream = (lambda: sys.stdout) if progress else None
        return self._result(self._handle.follow(pause.wait, stream, poll=poll))

    def result(self) -> Result:
        """Returns the run's result as it is now.

        Raises:
            RunnerError: The run or its trials cannot be read.
        """
        return self._result(self._handle.snapshot())

    def logs(self, trial: int | None = None, *, follow: bool = False) -> Iterator[str]:
        """Yields the lines that a trial printed, of one replica after the other.

        Args:
            trial: The trial's number; None for the whole run: a pipeline's steps, or all trials.
            follow: Whether to go on until the trial, or the run, is over.

        Raises:
            InputError: The run has no such trial, or it is no number.
            RunnerError: There is no log, or it cannot be read.
        """
        if trial is not None and (isinstance(trial, bool) or not isinstance(trial, int)):
            raise InputError(f"trial: found {trial!r}; allowed: a trial's number, as 0")
        lines: LogLines = self._handle.logs(trial, follow=follow)
        return (line for _, line in lines if line is not None)

    def stop(self, *, poll: float | None = None) -> StopOutcome:
        """Stops the run and its trials. Stopping a run again is no error.

        A run on this machine ends as by Ctrl-C, and this returns when it has. In Kubeflow Pipelines
        the run is terminated, in Argo stopped, and its last step then stops the trials. If its
        steps have not changed for long, or its Workflow is full, this waits half a minute for the
        engine to act, and else stops the trials' jobs from here.

        Of a run of which only the jobs are known here, the jobs are stopped; the program that runs
        the trials sees that, and ends.

        Args:
            poll: Seconds between two requests in that time, above 0; 2 by default.

        Returns:
            The outcome; its ``lines()`` describe it.

        Raises:
            RunnerError: The server refuses, or the run's program is another user's.
        """
        return self._handle.stop(poll=poll)

    def _result(self, now: Snapshot) -> Result:
        if now.history is None:
            raise RunnerError(f"{now.name} is {now.state}; {now.unseen}")
        return Result(now.history, now.ending, self._handle.files)

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the name, the id and a link to the run's page."""
        from katibflow.report.words import log_link

        return f"<p><b>{log_link(self.name, self.link)}</b> {escape(self.run_id)}</p>"

    def __repr__(self) -> str:
        return f"<Run {self.name} on {self.on}: {self.run_id} {self.link}>"


def _where(
    on: str | None,
    runs: str | Path,
    host: str | None,
    namespace: str | None,
    context: str | None,
    ca_file: Any,
) -> Where:
    file = None if ca_file is None else Path(ca_file)
    return Where(warn, on, Path(runs), host, namespace, context, file)
