"""Reads the Workflows of runs, and their steps' pods, where the Kubernetes API may be asked.

Nothing here is an error: what cannot be read is None, and why is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from time import monotonic
from typing import Any, TypeVar

from katibflow.client.workflow import KFP_RUN, StepPod, Workflow, read_pod, read_workflow
from katibflow.errors import RunnerError
from katibflow.runners.kubernetes.api import Api, ApiError

__all__ = ["WorkflowReader"]

_LASTING = (401, 403, 404)
"""Statuses with which it is not asked again: no right, or no such kind."""

_AWAY = 60.0
"""Seconds for which a server that was out of reach is not asked again; each try takes long."""

_OPEN = "status.phase!=Succeeded,status.phase!=Failed"

Found = TypeVar("Found")


class WorkflowReader:
    """Reads from one namespace.

    Args:
        api: The namespace of the runs.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._workflows = api.path("argoproj.io/v1alpha1", "workflows")
        self._refused: set[str] = set()
        self._away_until = 0.0
        self._untold: list[str] = []
        self._told: set[str] = set()
        self._kept: dict[str, tuple[str, Workflow]] = {}

    @property
    def namespace(self) -> str:
        """Where it reads."""
        return self._api.namespace

    def workflow(self, run_id: str, expected: bool = True) -> Workflow | None:
        """A run's Workflow; it is fetched again only when it has changed.

        Args:
            run_id: KFP's id.
            expected: Whether it is worth a word that there is none; those of runs that are over
                are deleted some day.
        """
        found = self._asked("the run's workflow", lambda: list(self._workflow(run_id)))
        if found == [] and expected:
            self._say(f"no workflow of the run is in namespace {self.namespace}")
        return found[0] if found else None

    def _workflow(self, run_id: str) -> Iterator[Workflow]:
        query = {"labelSelector": f"{KFP_RUN}={run_id}"}
        kept_version, kept = self._kept.get(run_id, ("", None))
        for body in self._items(self._workflows, query, metadata_only=True):
            if kept is not None and body["metadata"].get("resourceVersion") == kept_version:
                yield kept
                return
        for body in self._items(self._workflows, query):
            found = read_workflow(body)
            self._kept[run_id] = (body["metadata"].get("resourceVersion", ""), found)
            yield found

    def pods(self, run_id: str) -> tuple[StepPod, ...] | None:
        """The pods of a run's steps that have not ended.

        Args:
            run_id: KFP's id.
        """
        query = {"labelSelector": f"{KFP_RUN}={run_id}", "fieldSelector": _OPEN}
        path = self._api.path("v1", "pods")
        return self._asked(
            "the steps' pods", lambda: tuple(map(read_pod, self._items(path, query)))
        )

    def written(self) -> Mapping[str, datetime]:
        """When each run's Workflow was last written, by KFP's id, from its metadata alone.

        A run is missing whose Workflow is gone, or of which the server does not say it.
        """
        query = {"labelSelector": KFP_RUN}
        found = self._asked(
            "the runs' workflows",
            lambda: list(self._items(self._workflows, query, metadata_only=True)),
        )
        times = {
            body["metadata"]["labels"][KFP_RUN]: _last_write(body["metadata"])
            for body in found or ()
        }
        return {run_id: time for run_id, time in times.items() if time is not None}

    def untold(self) -> tuple[str, ...]:
        """Why something could not be read, each reason once."""
        news, self._untold = tuple(self._untold), []
        return news

    def _items(
        self, path: str, query: Mapping[str, str], metadata_only: bool = False
    ) -> Iterator[dict[str, Any]]:
        for page in self._api.pages(path, query, metadata_only=metadata_only):
            yield from page.get("items") or ()

    def _asked(self, what: str, ask: Callable[[], Found]) -> Found | None:
        if what in self._refused or monotonic() < self._away_until:
            return None
        try:
            return ask()
        except RunnerError as error:
            if isinstance(error, ApiError) and error.status in _LASTING:
                self._refused.add(what)
            elif not isinstance(error, ApiError):
                self._away_until = monotonic() + _AWAY
            self._say(f"{what} cannot be read from the cluster: {error}")
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            self._say(f"{what} cannot be read: an answer that cannot be used: {error!r}")
        return None

    def _say(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            self._untold.append(reason)


def _last_write(metadata: Mapping[str, Any]) -> datetime | None:
    """When the status was last written; when anything was, if that is not kept apart."""
    entries = [each for each in metadata.get("managedFields") or () if each.get("time")]
    of_status = [each for each in entries if "f:status" in (each.get("fieldsV1") or {})]
    times = [datetime.fromisoformat(each["time"]) for each in of_status or entries]
    return max(times, default=None)
