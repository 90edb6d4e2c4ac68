"""Gets the Workflows of runs and their steps' pods from the Kubernetes API.

A failure raises nothing: the reader returns None and gives the reason once, in
`WorkflowReader.new_problems`. What an object means is in `workflow`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from time import monotonic
from typing import Any, Protocol, TypeVar

from katibflow.client.workflow import StepPod, Workflow, read_pod, read_workflow
from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.owner import KFP_RUN

__all__ = ["WorkflowReader", "Workflows"]

_LASTING = (401, 403, 404)
"""HTTP statuses after which a request is not repeated: no right, or no such kind."""

_AWAY = 60.0
"""Seconds without requests after the server was unreachable, as each request would take long."""

_OPEN = "status.phase!=Succeeded,status.phase!=Failed"

Found = TypeVar("Found")


class Workflows(Protocol):
    """Has the Workflows of runs, and their pods; fails without raising errors."""

    @property
    def namespace(self) -> str:
        """The namespace of the Workflows."""

    def workflow(self, run_id: str, expected: bool = True) -> Workflow | None:
        """Returns a run's Workflow; see `WorkflowReader.workflow`."""

    def is_missing(self, run_id: str) -> bool:
        """Returns whether the last look at a run's Workflow found that there is none."""

    def pods(self, run_id: str) -> tuple[StepPod, ...] | None:
        """Returns the pods of a run's steps that have not ended, or None if they are not known."""

    def new_problems(self) -> tuple[str, ...]:
        """Returns why something could not be read; returns each reason once."""


class WorkflowReader:
    """Reads the Workflows and pods of runs of Kubeflow Pipelines in one namespace.

    Args:
        api: The API for the namespace of the runs.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._workflows = api.path("argoproj.io/v1alpha1", "workflows")
        self._refused: set[str] = set()
        self._away_until = 0.0
        self._new_problems: list[str] = []
        self._known_problems: set[str] = set()
        self._cache: dict[str, tuple[str, Workflow]] = {}
        self._missing: set[str] = set()

    @property
    def namespace(self) -> str:
        """The namespace that this reads."""
        return self._api.namespace

    def workflow(self, run_id: str, expected: bool = True) -> Workflow | None:
        """Returns a run's Workflow, or None; gets the whole object only if it has changed.

        Args:
            run_id: KFP's id of the run.
            expected: Whether a missing Workflow is a problem; the Workflow of a run that is over
                gets deleted some day.
        """
        found = self._ask("the run's workflow", lambda: list(self._workflow(run_id)))
        self._missing.discard(run_id)
        if found == []:
            self._missing.add(run_id)
            if expected:
                self._add_problem(
                    f"no workflow of the run is in namespace {self.namespace}: it was deleted, or "
                    "is in another cluster or namespace"
                )
        return found[0] if found else None

    def is_missing(self, run_id: str) -> bool:
        """Returns whether the last look at a run's Workflow found that there is none.

        Args:
            run_id: KFP's id of the run.
        """
        return run_id in self._missing

    def _workflow(self, run_id: str) -> Iterator[Workflow]:
        query = {"labelSelector": f"{KFP_RUN}={run_id}"}
        cached_version, cached = self._cache.get(run_id, ("", None))
        for body in self._items(self._workflows, query, metadata_only=True):
            if cached is not None and body["metadata"].get("resourceVersion") == cached_version:
                yield cached
                return
        for body in self._items(self._workflows, query):
            found = read_workflow(body)
            self._cache[run_id] = (body["metadata"].get("resourceVersion", ""), found)
            yield found

    def pods(self, run_id: str) -> tuple[StepPod, ...] | None:
        """Returns the pods of a run's steps that have not ended, or None if they cannot be read.

        Args:
            run_id: KFP's id of the run.
        """
        query = {"labelSelector": f"{KFP_RUN}={run_id}", "fieldSelector": _OPEN}
        path = self._api.path("v1", "pods")
        return self._ask("the steps' pods", lambda: tuple(map(read_pod, self._items(path, query))))

    def written(self) -> Mapping[str, datetime] | None:
        """Returns when each run's Workflow was last written, by KFP's id, from metadata alone.

        Runs are left out whose Workflow is gone, or for which the server gives no time; None if
        the Workflows cannot be read.
        """
        query = {"labelSelector": KFP_RUN}
        found = self._ask(
            "the runs' workflows",
            lambda: list(self._items(self._workflows, query, metadata_only=True)),
        )
        if found is None:
            return None
        times = {
            body["metadata"]["labels"][KFP_RUN]: _last_write(body["metadata"]) for body in found
        }
        return {run_id: time for run_id, time in times.items() if time is not None}

    def new_problems(self) -> tuple[str, ...]:
        """Returns why something could not be read; returns each reason once."""
        news, self._new_problems = tuple(self._new_problems), []
        return news

    def _items(
        self, path: str, query: Mapping[str, str], metadata_only: bool = False
    ) -> Iterator[dict[str, Any]]:
        for page in self._api.pages(path, query, metadata_only=metadata_only):
            yield from page.get("items") or ()

    def _ask(self, what: str, ask: Callable[[], Found]) -> Found | None:
        if what in self._refused or monotonic() < self._away_until:
            return None
        try:
            return ask()
        except RunnerError as error:
            if isinstance(error, ApiError) and error.status in _LASTING:
                self._refused.add(what)
            elif not isinstance(error, ApiError):
                self._away_until = monotonic() + _AWAY
            self._add_problem(f"{what} cannot be read from the cluster: {error}")
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            self._add_problem(f"{what} cannot be read: an answer that cannot be used: {error!r}")
        return None

    def _add_problem(self, reason: str) -> None:
        if reason not in self._known_problems:
            self._known_problems.add(reason)
            self._new_problems.append(reason)


def _last_write(metadata: Mapping[str, Any]) -> datetime | None:
    """Returns when the status was last written, or else when anything was; None if unknown."""
    entries = [each for each in metadata.get("managedFields") or () if each.get("time")]
    of_status = [each for each in entries if "f:status" in (each.get("fieldsV1") or {})]
    times = [datetime.fromisoformat(each["time"]) for each in of_status or entries]
    return max(times, default=None)
