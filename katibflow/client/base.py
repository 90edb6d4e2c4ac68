"""Types of Kubeflow Pipelines as katibflow sees it: runs, steps, versions, triggers, errors.

`Pipelines` is the interface to an installation; `api` implements it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from katibflow.errors import RunnerError

__all__ = [
    "KUBEFLOW",
    "OVER",
    "Cron",
    "Engine",
    "Every",
    "NotFound",
    "Pipelines",
    "Run",
    "Runs",
    "Step",
    "Trigger",
    "Unreachable",
    "Version",
]

OVER = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


class Unreachable(RunnerError):
    """The server does not answer, or answers that it cannot now; a later request may succeed."""


class NotFound(RunnerError):
    """The server has no object of that name or id."""


@dataclass(frozen=True)
class Engine:
    """What runs pipelines, as far as what is told of a run differs.

    Attributes:
        title: Its name.
        submit: The words of the command that starts a run in it.
        namespace: The namespace of Argo's controller, where it is usually installed.
    """

    title: str
    submit: tuple[str, ...]
    namespace: str


KUBEFLOW = Engine(
    "Kubeflow Pipelines", ("katibflow", "submit", "EXPERIMENT.yaml"), namespace="kubeflow"
)
"""Kubeflow Pipelines; other engines are where their runs are read."""


@dataclass(frozen=True)
class Version:
    """The ids of one uploaded version of a pipeline."""

    pipeline_id: str
    version_id: str


@dataclass(frozen=True)
class Step:
    """One task of a run: a component's, a DAG's, or the engine's own.

    Attributes:
        name: The task's key in its DAG, as ``launcher``.
        state: KFP's RuntimeState, as ``RUNNING``.
    """

    name: str
    state: str


@dataclass(frozen=True)
class Run:
    """A run as Kubeflow Pipelines describes it, or another engine in the same terms.

    Attributes:
        run_id: The run's id, a UUID.
        name: The run's display name.
        state: KFP's RuntimeState: PENDING, RUNNING, SUCCEEDED, SKIPPED, FAILED, CANCELING,
            CANCELED or PAUSED.
        created: When the run was created, with a time zone.
        version: The pipeline's version; None if the run was started from a file.
        spec: The pipeline's spec if the run carries it itself, or None.
        parameters: The parameters that were given to the run, by name.
        steps: The run's tasks; empty in a list of runs.
        error: Why the run failed, in KFP's words; "" if KFP does not say.
        experiment_id: The id of KFP's experiment that the run belongs to; "" if unknown.
        changed: When a step last began or ended; None if unknown, as in a list of runs.
        causes: Why steps failed, a sentence each, from Kubernetes; empty if unknown.
        is_stopped: Whether somebody has terminated the run; Kubeflow Pipelines then calls it
            FAILED in the end.
        engine: What runs it.
        pods: The label selector of its steps' pods; "" for that of Kubeflow Pipelines.
    """

    run_id: str
    name: str
    state: str
    created: datetime
    version: Version | None = None
    spec: Mapping[str, Any] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    error: str = ""
    experiment_id: str = ""
    changed: datetime | None = None
    causes: tuple[str, ...] = ()
    is_stopped: bool = False
    engine: Engine = KUBEFLOW
    pods: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.state in OVER


@dataclass(frozen=True)
class Cron:
    """A schedule by a cron expression.

    Attributes:
        expression: Six fields, seconds first, or a word such as ``@daily``, as KFP reads it.
    """

    expression: str


@dataclass(frozen=True)
class Every:
    """A schedule by the time from one run's start to the next one's.

    Attributes:
        seconds: That time in seconds, at least 1.
    """

    seconds: int


Trigger = Cron | Every


class Runs(Protocol):
    """What has runs, whatever runs them. Every method may raise the errors listed here.

    Raises:
        Unreachable: The server does not answer.
        NotFound: The server has no such object.
        RunnerError: The server refuses.
    """

    def run(self, run_id: str) -> Run:
        """Returns a run as it is now, with its steps."""

    def stop(self, run_id: str) -> None:
        """Ends a run; its last step then stops its jobs."""


class Pipelines(Runs, Protocol):
    """An installation of Kubeflow Pipelines; for errors see `Runs`."""

    @property
    def namespace(self) -> str:
        """The user's namespace; "" where the installation has no users."""

    def upload(self, name: str, version: str, text: str, description: str) -> tuple[Version, bool]:
        """Uploads a version of a pipeline, unless the pipeline has a version of that name.

        Args:
            name: The pipeline's name; the pipeline is created if there is none.
            version: The version's name.
            text: The compiled pipeline.
            description: The version's description.

        Returns:
            The version, and whether it was uploaded just now.
        """

    def start(
        self, experiment: str, name: str, version: Version, parameters: Mapping[str, str]
    ) -> Run:
        """Starts a run of a version, in KFP's experiment of that name."""

    def schedule(
        self,
        experiment: str,
        name: str,
        version: Version,
        parameters: Mapping[str, str],
        trigger: Trigger,
    ) -> str:
        """Creates a recurring run, in KFP's experiment of that name, and returns its id."""

    def schedules(self, experiment: str) -> Sequence[tuple[str, str]]:
        """Returns name and id of each recurring run in KFP's experiment of that name."""

    def runs(self, limit: int) -> Sequence[Run]:
        """Returns the latest runs, the newest first.

        Args:
            limit: The greatest number of runs to return, from 1.
        """

    def spec(self, version: Version) -> Mapping[str, Any]:
        """Returns a version's pipeline spec."""

    def namespace_of(self, run: Run) -> str:
        """Returns the namespace of a run's pods, or "" if the installation does not say."""

    def workflow(self, run_id: str) -> Mapping[str, Any] | None:
        """Returns the run's Workflow as it was last reported, or None if there is none to be had.

        It is in the API's older version alone, v1beta1.
        """

    def log(self, run_id: str, pod: str) -> str | None:
        """Returns the log of a step's pod as it is now, or None if there is none to be had.

        Args:
            run_id: The run's id.
            pod: The name of the pod; or the node's, for a log that Argo has archived.
        """

    def link(self, path: str) -> str:
        """Returns the address of a page in KFP's UI, or "" if it is not known.

        Args:
            path: The page's path, as ``runs/details/ID``.
        """
