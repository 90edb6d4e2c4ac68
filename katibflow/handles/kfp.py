"""Runs in Kubeflow Pipelines as handles: the installation, and the trials' jobs where it can."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from katibflow.errors import InputError, KatibflowError, NoSuchRun
from katibflow.handles.base import (
    Configured,
    LogLines,
    Pause,
    RunHandle,
    RunSource,
    RunState,
    Snapshot,
    Streams,
    Where,
)
from katibflow.handles.engine_runs import (
    FOLLOW_POLL,
    STOP_POLL,
    EngineRun,
    lines_or_error,
)
from katibflow.printing import counted, say

if TYPE_CHECKING:
    from katibflow.client.access import Access
    from katibflow.client.base import Pipelines
    from katibflow.client.cluster import Cluster
    from katibflow.client.reading import ExperimentRun
    from katibflow.client.stopping import Stopped

__all__ = ["NAME", "SOURCE", "KfpRun", "KfpRuns", "unavailable_text"]

NAME = "kfp"


class KfpRun(EngineRun):
    """A run in Kubeflow Pipelines; a `RunHandle`.

    Args:
        pipelines: The installation that has the run.
        experiment_run: The run and its Experiment.
        cluster: The jobs and pods of the run.
        on_missing: Called in place of a warning if the run succeeded and has no jobs there.
    """

    on = NAME
    unseen = (
        "no trials can be read: their jobs are read by a kubeconfig, and Kubeflow Pipelines' API "
        "has trials once a round, or the run, is over"
    )

    def __init__(
        self,
        pipelines: Pipelines,
        experiment_run: ExperimentRun,
        cluster: Cluster,
        on_missing: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(pipelines, experiment_run)
        self._pipelines = pipelines
        self._cluster = cluster
        self._on_missing = on_missing

    @property
    def link(self) -> str:
        """The address of the run's page in the UI, or the run's id if that is not known."""
        from katibflow.client.reading import link_of

        return link_of(self._pipelines, self._experiment_run.run)

    def snapshot(self, *, brief: bool = False) -> Snapshot:
        """Returns the run as it is now; a brief one is of the run as it was found."""
        experiment_run, cluster = self._experiment_run, self._cluster
        history = cluster.history(experiment_run, self._on_missing)
        if self._on_missing is None:
            history = cluster.history_at_end(experiment_run, experiment_run.run, history)
        if brief:
            status = cluster.status_if_overdue(experiment_run, history)
            return self._snapshot(experiment_run.run, history, status)
        run = self._pipelines.run(self.run_id)
        view = cluster.view(experiment_run)
        seen = view.status(run, history)
        problems: tuple[str, ...] = ()
        if run.state != "SUCCEEDED":
            problems = view.new_problems()
        if seen.run.is_over:
            problems += tuple(cluster.failed_steps(seen.run, experiment_run.fault))
        elif history is None:
            problems += tuple(cluster.lines_of("controller", seen.run))
        return self._onward(self._snapshot(seen.run, history, seen, problems))

    def _onward(self, now: Snapshot) -> Snapshot:
        """Returns a snapshot whose ending names the run that goes on with the study, if any."""
        onward = self._next(now.state)
        if onward is None:
            return now
        from katibflow.client.reading import link_of
        from katibflow.study.ending import Ending
        from katibflow.study.reasons import ExperimentReason

        trials = () if now.history is None else now.history.trials
        count = f"{counted(len(trials), 'trial')} so far, and " if trials else ""
        text = (
            f"{count}the study goes on in the run {onward.run.name}, {onward.run.run_id}: "
            f"{link_of(self._pipelines, onward.run)}"
        )
        return replace(now, ending=Ending(True, ExperimentReason.ROUNDS_USED_UP, text))

    def _next(self, state: str) -> ExperimentRun | None:
        """Returns the run that goes on with the study of this one, which has that state."""
        from katibflow.client.reading import next_experiment_run

        if state != RunState.SUCCEEDED:
            return None
        return next_experiment_run(self._pipelines, self._experiment_run)

    def follow(
        self, pause: Pause, stream: Streams | None, *, poll: float | None = None
    ) -> Snapshot:
        """Shows the run until it is over; goes on for a run that has stalled, and says so once.

        Where another run goes on with the study by itself, that is followed then, and this handle
        is of that run.
        """
        now = self._follow(pause, stream, poll)
        while (onward := self._next(now.state)) is not None:
            if stream is not None:
                say(f"{now.name} is over, and the study goes on", file=stream())
            self._experiment_run = onward
            if stream is not None:
                say(f"run {self.name}: {self.link}", file=stream())
            now = self._follow(pause, stream, poll)
        return now

    def _follow(self, pause: Pause, stream: Streams | None, poll: float | None) -> Snapshot:
        from katibflow.client.kfp_logs import LogFeed
        from katibflow.client.watching import watch

        experiment_run, cluster = self._experiment_run, self._cluster
        run, history = watch(
            self._pipelines,
            experiment_run,
            cluster.records(experiment_run),
            cluster.view(experiment_run),
            lambda: pause(FOLLOW_POLL if poll is None else poll),
            stream,
            LogFeed(self._pipelines, self.run_id),
        )
        problems: tuple[str, ...] = ()
        if run.is_over:
            history = cluster.history_at_end(experiment_run, run, history)
            problems = tuple(cluster.failed_steps(run, experiment_run.fault))
        return self._snapshot(run, history, None, problems)

    def logs(
        self, trial: int | None, *, follow: bool = False, poll: float | None = None
    ) -> LogLines:
        """Yields what a trial printed, or the pipeline's steps, as long as their pods are there.

        Of a step's log, the lines of Kubeflow Pipelines' launcher and of Argo are left out.
        """
        seconds = FOLLOW_POLL if poll is None else poll
        try:
            self._cluster.required_api(self._experiment_run.run)
        except InputError as error:
            if self._cluster.is_named:
                raise
            what, lines = self._published_logs(trial, seconds if follow else None, error)
        else:
            what, lines = self._pod_logs(trial, follow, seconds)
        yield from lines_or_error(lines, f"{what}; {self.link} keeps logs as artifacts")

    def _published_logs(
        self, trial: int | None, poll: float | None, error: InputError
    ) -> tuple[str, LogLines]:
        """Reads the steps' logs from Kubeflow Pipelines' API, where there is no cluster to ask."""
        from katibflow.client.kfp_logs import log_lines

        if trial is not None:
            raise InputError(
                f"{error}\nthe log of a trial is in its pod, and in an artifact named log or logs "
                f"once its step is over: {self.link}; Kubeflow Pipelines' API has the logs of the "
                "steps alone: leave TRIAL out"
            ) from error
        what = f"Kubeflow Pipelines' API has no log of a step of {self.name}"
        return what, log_lines(self._pipelines, self.run_id, poll)

    def _pod_logs(self, trial: int | None, follow: bool, poll: float) -> tuple[str, LogLines]:
        from katibflow.client.records import JobRecords
        from katibflow.client.step_logs import lines_of_steps
        from katibflow.client.trial_logs import lines_of_trial

        experiment_run = self._experiment_run
        api = self._cluster.required_api(experiment_run.run)
        if trial is None:
            run = experiment_run.run
            return lines_of_steps(api, self._pipelines, run, follow=follow, poll=poll)
        records = JobRecords.of(api, experiment_run)
        return lines_of_trial(api, records, trial, follow=follow, poll=poll)

    def stop(self, *, poll: float | None = None) -> Stopped:
        """Terminates the run; its last step then stops the trials that still run.

        If the run's steps have not changed for long, or its Workflow is full, this waits half a
        minute for the engine to act, and else stops the trials' jobs from here. So it does with the
        jobs that a run that is over has left.
        """
        from katibflow.client.stopping import stop_run

        experiment_run = self._experiment_run
        records = self._cluster.records(experiment_run)
        reader = self._cluster.reader(experiment_run.run)
        pause, seconds = threading.Event(), STOP_POLL if poll is None else poll
        return stop_run(
            self._pipelines, experiment_run, records, reader, lambda: pause.wait(seconds)
        )


class KfpRuns:
    """Finds the runs of Experiments in an installation of Kubeflow Pipelines; a `RunSource`."""

    summary = "in Kubeflow Pipelines"
    wanted = "a run's id, its first letters or its name, as `katibflow list` shows them"

    def configured(self, where: Where) -> Configured:
        """Returns whether an address, this pod's cluster or a kubeconfig leads there."""
        from katibflow.client.access import is_found, is_given

        access = _access(where)
        if is_given(access) or where.context is not None:
            return Configured.GIVEN
        is_installed = find_spec("kfp") is not None
        return Configured.FOUND if is_installed and is_found(access) else Configured.NO

    def find(self, wanted: str, where: Where) -> Sequence[RunHandle]:
        """Returns the run of an id, of the first letters of one, or of a name, if there is one."""
        from katibflow.client.base import NotFound
        from katibflow.client.reading import find_experiment_run

        try:
            pipelines, cluster = _reached(where)
        except NotFound:
            if _is_named(where):
                raise
            return ()  # a cluster without Kubeflow Pipelines
        try:
            found = find_experiment_run(pipelines, wanted)
        except NoSuchRun:
            return ()
        return (KfpRun(pipelines, found, cluster),)

    def latest(self, where: Where, limit: int) -> Iterable[RunHandle]:
        """Yields the Experiments of the latest runs."""
        from katibflow.client.base import NotFound
        from katibflow.client.reading import latest_experiment_runs

        try:
            pipelines, cluster = _reached(where)
        except NotFound:
            if _is_named(where):
                raise
            return  # a cluster without Kubeflow Pipelines
        missing: list[None] = []
        for each in latest_experiment_runs(pipelines, limit):
            yield KfpRun(pipelines, each, cluster, lambda: missing.append(None))
        if missing:
            where.warn(
                f"runs that succeeded and have no jobs in this cluster: {len(missing)}; their "
                "jobs were deleted, or are elsewhere (--context, --namespace)"
            )


def _is_named(where: Where) -> bool:
    """Returns whether the user names Kubeflow Pipelines, and not only a cluster."""
    from katibflow.client.access import is_given

    return where.on == NAME or is_given(_access(where))


def _access(where: Where) -> Access:
    from katibflow.client.cluster import access_of

    return access_of(where.host, where.namespace, where.context, where.ca_file)


def _reached(where: Where) -> tuple[Pipelines, Cluster]:
    """Connects to the installation; tells once why the trials' jobs cannot be read."""
    from katibflow.client.api import connect
    from katibflow.client.cluster import Cluster

    access = _access(where)
    pipelines = connect(access)
    cluster = Cluster(pipelines, access, lambda error: where.warn(unavailable_text(error)))
    return pipelines, cluster


def unavailable_text(error: KatibflowError) -> str:
    """Returns why the trials' jobs cannot be read; what else it says is for who runs trials."""
    return f"the trials' jobs cannot be seen from here: {str(error).partition(chr(10))[0]}"


SOURCE: RunSource = KfpRuns()
