"""Runs of ``run --on kubernetes`` as handles, from any machine: their jobs in the cluster.

The run's folder is where it was begun; the jobs say what the run searches, and have the trials.
Which program runs the trials, and where, nobody says: a run goes on as long as jobs of it do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
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
    state_of,
)
from katibflow.handles.engine_runs import FOLLOW_POLL, STOP_POLL, lines_or_error

if TYPE_CHECKING:
    from katibflow.client.job_runs import JobRun
    from katibflow.client.logs import LogSource
    from katibflow.client.records import JobRecords
    from katibflow.runners.kubernetes.api import Api
    from katibflow.study.history import History

__all__ = ["NAME", "SOURCE", "KubernetesRun", "KubernetesRuns", "StoppedJobs", "is_between_trials"]

NAME = "kubernetes"
_GIVE_UP = 5.0  # seconds
_LOOKS = 30
_BETWEEN = timedelta(seconds=60)
"""The time in which a program that runs trials makes the next job after one has ended."""

_STOPPED = "the run was stopped from another machine"


@dataclass(frozen=True)
class StoppedJobs:
    """The outcome of stopping a run by its jobs.

    Attributes:
        name: The run's name.
        jobs: The names of the jobs that were stopped.
        left: The names of the jobs that go on nevertheless.
        state: The run's state before, as a text.
    """

    name: str
    jobs: tuple[str, ...]
    left: tuple[str, ...]
    state: str

    @property
    def asked(self) -> bool:
        """Whether this call stopped a job."""
        return bool(self.jobs)

    @property
    def is_done(self) -> bool:
        """Whether no job of the run goes on."""
        return not self.left

    def lines(self) -> list[str]:
        """Returns the outcome in lines for a person."""
        if not self.jobs:
            return [f"{self.name}: no job of it goes on; it is {self.state}"]
        plural = "s were" if self.jobs[1:] else " was"
        said = [f"{self.name}: {len(self.jobs)} job{plural} stopped: {', '.join(self.jobs)}"]
        if self.left:
            return [*said, f"new jobs have begun meanwhile, and go on: {', '.join(self.left)}"]
        return [*said, "the same command, where it was run, goes on from here"]


class KubernetesRun:
    """A run of whose trials the jobs are in a cluster; a `RunHandle`.

    Args:
        api: Requests in the jobs' namespace.
        found: The run, as its jobs' metadata show it.
    """

    on = NAME
    files = None

    def __init__(self, api: Api, found: JobRun) -> None:
        self._api = api
        self._found = found
        self._kept: JobRecords | None = None

    @property
    def run_id(self) -> str:
        """The label ``katibflow/run`` of the run's jobs."""
        return self._found.run

    @property
    def name(self) -> str:
        """The Experiment's name."""
        return self._found.name

    @property
    def experiment(self) -> str:
        """The run's name, as it has its Experiment's."""
        return self.name

    @property
    def argument(self) -> str:
        """The run's id."""
        return self.run_id

    @property
    def job_run(self) -> str:
        """The label ``katibflow/run`` of the run's jobs."""
        return self.run_id

    @property
    def link(self) -> str:
        """The namespace and the label of the run's jobs, as kubectl takes them."""
        return f"-n {self._api.namespace} -l katibflow/run={self.run_id}"

    def state(self) -> str:
        """Returns whether jobs of the run go on, or how it ended."""
        return self.snapshot().state

    def snapshot(self, *, brief: bool = False) -> Snapshot:
        """Returns the run as it is now; a brief one of a run without jobs is as it was found."""
        found, going = self._found.history(), False
        if found is None:
            return self._snapshot(None, bool(self._found.going))
        if not brief or self._found.going:
            records = self._records()
            found, going = records.history(), bool(records.going())
        return self._snapshot(found, going)

    def _snapshot(self, history: History | None, going: bool) -> Snapshot:
        from katibflow.runs.running import ending_on_record
        from katibflow.study.ending import Ending
        from katibflow.study.reasons import ExperimentReason

        if history is None:
            is_driven = going
            ending = Ending(None, ExperimentReason.NOT_FINISHED, "what it searches is not known")
        else:
            ending = ending_on_record(history, is_in_use=False)
            is_driven = going or (
                ending.succeeded is None and is_between_trials(history, datetime.now(UTC))
            )
            if is_driven:
                ending = ending_on_record(history, is_in_use=True)
        return Snapshot(
            on=NAME,
            run_id=self.run_id,
            name=self.name,
            experiment=self.name,
            state=state_of(ending, is_driven),
            created=self._found.created,
            history=history,
            ending=ending,
            link=self.link,
            unseen="" if history is not None else self._unseen,
        )

    @property
    def _unseen(self) -> str:
        return (
            "its jobs, of an older katibflow or with more parameters than an annotation holds, do "
            f"not say what they searched: kubectl get {self._found.kind.plural} {self.link}"
        )

    def _records(self) -> JobRecords:
        """Returns what reads the run's jobs.

        Raises:
            RunnerError: The jobs do not say what they searched.
        """
        from katibflow.client.records import JobRecords

        if self._kept is None:
            history = self._found.history()
            if history is None:
                raise RunnerError(f"{self.name}: {self._unseen}")
            self._kept = JobRecords(self._api, replace(history, trials=()))
        return self._kept

    def follow(
        self, pause: Pause, stream: Streams | None, *, poll: float | None = None
    ) -> Snapshot:
        """Shows the run until no job of it goes on, or until ``pause`` returns True."""
        from katibflow.handles.following import follow_by_looking

        seconds = FOLLOW_POLL if poll is None else poll
        return follow_by_looking(self.snapshot, lambda now: now.is_over, pause, stream, seconds)

    def logs(
        self, trial: int | None, *, follow: bool = False, poll: float | None = None
    ) -> LogLines:
        """Yields what a trial's pods printed, or all trials', as long as the pods are there."""
        from katibflow.client.trial_logs import lines_of_trial

        records, seconds = self._records(), FOLLOW_POLL if poll is None else poll
        if trial is None:
            what, lines = f"no pod of {self.name} is left, or has begun", self._all(follow, seconds)
        else:
            what, lines = lines_of_trial(self._api, records, trial, follow=follow, poll=seconds)
        yield from lines_or_error(
            lines, f"{what}; the run's folder, where it was begun, keeps the logs"
        )

    def _all(self, follow: bool, poll: float) -> LogLines:
        from katibflow.client.log_following import follow_logs, in_turn
        from katibflow.client.logs import trial_logs, trial_sources

        records, api = self._records(), self._api
        template = records.history().experiment.spec.trial_template
        manifest, container = template.trial_spec or {}, template.primary_container_name
        if not follow:
            for trial in records.history().trials:
                yield from in_turn(trial_logs(api, trial, manifest, container))
            return
        over: set[int] = set()

        def sources() -> Iterator[LogSource]:
            for trial in records.history().trials:
                if trial.number not in over:
                    yield from trial_sources(api, trial, manifest, container)
                    over.update([trial.number] if trial.state.is_finished else [])

        yield from follow_logs(
            api, sources, lambda: self.snapshot().is_over, poll, lambda: lambda line: True
        )

    def stop(self, *, poll: float | None = None) -> StoppedJobs:
        """Stops the run's jobs; the program that runs the trials sees that, and ends too.

        Jobs that it makes meanwhile are stopped as well.

        Raises:
            RunnerError: The jobs are a pipeline's, whose engine would make new ones; or the server
                refuses.
        """
        if self._found.workflow:
            raise RunnerError(
                f"the jobs of {self.name} are made by the Workflow {self._found.workflow}: stop "
                "that, or they would be made anew"
            )
        before, records = self.state(), self._records()
        stopped: dict[str, None] = {}
        pause, seconds = threading.Event(), STOP_POLL if poll is None else poll
        left: Sequence[str] = records.going()
        for _ in range(_LOOKS):
            if not left:
                break
            stopped.update(dict.fromkeys(records.halt(_STOPPED)))
            pause.wait(seconds)
            left = records.going()
        return StoppedJobs(self.name, tuple(stopped), tuple(left), before)


def is_between_trials(history: History, now: datetime) -> bool:
    """Returns whether a trial ended just now and none is under way: the next may be about to begin.

    Args:
        history: The run's trials, of which no job goes on.
        now: The present time.
    """
    if any(not trial.state.is_finished for trial in history.trials):
        return False  # its job was stopped, or is over and nobody has put that on record
    ends = [datetime.fromisoformat(trial.end) for trial in history.trials if trial.end]
    return bool(ends) and now - max(ends) < _BETWEEN


class KubernetesRuns:
    """Finds runs by the labels of their trials' jobs in a namespace; a `RunSource`."""

    summary = "jobs in a cluster, wherever the run was begun"
    wanted = "an Experiment's name, or its jobs' label katibflow/run"

    def configured(self, where: Where) -> Configured:
        """Returns whether a kubeconfig, or this pod's account, leads to a cluster."""
        from katibflow.client.access import is_found
        from katibflow.client.cluster import access_of

        if not find_spec("kubernetes"):
            return Configured.NO
        access = access_of(where.host, where.namespace, where.context, where.ca_file)
        return Configured.FOUND if is_found(access) else Configured.NO

    def find(self, wanted: str, where: Where) -> Sequence[RunHandle]:
        """Returns the runs of an Experiment's name, or of a run's id or its first letters."""
        from katibflow.client.job_runs import runs_meant
        from katibflow.runners.kubernetes.job_object import is_name

        if not is_name(wanted):
            return ()
        api, runs = _runs(where)
        return [KubernetesRun(api, each) for each in runs_meant(runs, wanted)]

    def latest(self, where: Where, limit: int) -> Iterable[RunHandle]:
        """Yields the runs of which a job or a record is there, the one that began last first."""
        api, runs = _runs(where)
        yield from (KubernetesRun(api, each) for each in runs[:limit])


def _runs(where: Where) -> tuple[Api, list[JobRun]]:
    """Reads the runs; those of pipelines, which have sources of their own, only if asked for."""
    from katibflow.client.job_runs import job_runs
    from katibflow.runners.kubernetes.api import Timing
    from katibflow.runners.kubernetes.runner import connect

    api = connect(where.namespace, where.context, Timing(give_up=_GIVE_UP))
    found = job_runs(api)
    return api, [each for each in found if not each.workflow or where.on == NAME]


SOURCE: RunSource = KubernetesRuns()
