"""What katibflow asks of Kubeflow Pipelines, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from katibflow.errors import RunnerError

__all__ = [
    "Cron",
    "Every",
    "NotThere",
    "OutOfReach",
    "Pipelines",
    "Run",
    "Step",
    "Trigger",
    "Version",
]

_OVER = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


class OutOfReach(RunnerError):
    """The server does not answer, or only that it cannot now; it may when it is asked again."""


class NotThere(RunnerError):
    """The server knows nothing of that name or id."""


@dataclass(frozen=True)
class Version:
    """One uploaded content of a pipeline."""

    pipeline_id: str
    version_id: str


@dataclass(frozen=True)
class Step:
    """One task of a run: of the trial, of a DAG, or of the engine.

    Attributes:
        name: The task's key in its DAG, as ``launcher``.
        state: KFP's RuntimeState, as ``RUNNING``.
    """

    name: str
    state: str


@dataclass(frozen=True)
class Run:
    """A run as Kubeflow Pipelines knows it.

    Attributes:
        run_id: Its id, a UUID.
        name: Its display name.
        state: KFP's RuntimeState: PENDING, RUNNING, SUCCEEDED, SKIPPED, FAILED, CANCELING,
            CANCELED or PAUSED.
        created: When, with its time zone.
        version: What it runs; None if it was started from a file that was not uploaded.
        spec: The pipeline's spec, if the run carries it itself.
        parameters: The run's parameters that were given.
        steps: What KFP says of its tasks; empty in a list of runs.
        error: Why it failed, in KFP's words.
        experiment_id: KFP's experiment that it belongs to.
        changed: When a step last began or ended; None if that is not known, as in a list of runs.
        causes: What made steps fail, a sentence each, where Kubernetes tells.
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

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in _OVER


@dataclass(frozen=True)
class Cron:
    """A schedule of six fields, seconds first, as KFP reads it."""

    expression: str


@dataclass(frozen=True)
class Every:
    """A schedule by the time from one run's start to the next one's.

    Attributes:
        seconds: At least 1.
    """

    seconds: int


Trigger = Cron | Every


class Pipelines(Protocol):
    """An installation of Kubeflow Pipelines; every method may raise what the class says.

    Raises:
        OutOfReach: It does not answer.
        NotThere: There is no such object.
        RunnerError: It refuses.
    """

    @property
    def namespace(self) -> str:
        """The namespace that is worked in; empty where the installation has no users."""

    def upload(self, name: str, version: str, text: str, description: str) -> tuple[Version, bool]:
        """A pipeline's version of that name, uploaded unless it is there; and whether it was not.

        Args:
            name: The pipeline's; it is made if there is none.
            version: The version's.
            text: The compiled pipeline.
            description: Of the version.
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
        """Makes a recurring run; its id."""

    def schedules(self, experiment: str) -> Sequence[tuple[str, str]]:
        """Name and id of each recurring run in KFP's experiment of that name, if there is one."""

    def run(self, run_id: str) -> Run:
        """A run as it is now, with its steps."""

    def runs(self, limit: int) -> Sequence[Run]:
        """The latest runs, newest first.

        Args:
            limit: How many at most.
        """

    def spec(self, version: Version) -> Mapping[str, Any]:
        """A version's pipeline spec."""

    def namespace_of(self, run: Run) -> str:
        """Where a run's pods are; empty if the installation does not say."""

    def stop(self, run_id: str) -> None:
        """Terminates a run."""

    def link(self, path: str) -> str:
        """The address of a page in KFP's UI; empty if it is not known.

        Args:
            path: As ``runs/details/ID``.
        """
