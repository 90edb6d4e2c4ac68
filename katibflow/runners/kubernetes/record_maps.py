"""Keeps records of finished trials in ConfigMaps, for trials whose jobs do not stay.

A trial's ConfigMap has the name, the labels and the annotations of its job, so that both are read
alike, and ``kubectl get configmaps -l katibflow/experiment=NAME`` shows the finished trials. It is
written before the job may go: `record_lifetime` says when that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.job_object import Identity, record_metadata, record_patch
from katibflow.study.history import Trial

__all__ = ["RecordMaps"]


class RecordMaps:
    """The ConfigMaps with records of one run's trials.

    Args:
        api: Requests in the namespace.
        identity: The namespace, experiment and run.
        owner: apiVersion, kind, name and uid of the Workflow that has the jobs made. Its deletion
            deletes no record.
        search: What the experiment searches, as on the jobs.
    """

    def __init__(
        self, api: Api, identity: Identity, owner: Mapping[str, Any] | None, search: str
    ) -> None:
        self._api = api
        self._identity = identity
        self._owner = owner
        self._search = search

    def put(self, trial: Trial) -> None:
        """Writes a finished trial's record, which is durable when this returns.

        Raises:
            ApiError: The server refuses.
            RunnerError: The server is out of reach.
        """
        metadata = record_metadata(trial, self._identity, self._owner, self._search, is_owned=False)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        path = self._api.path("v1", "configmaps")
        try:
            self._api.request("POST", path, body=body)
        except ApiError as error:
            if error.status != 409:
                raise
            path = self._api.path("v1", "configmaps", trial.job or "")
            self._api.request("PATCH", path, body=record_patch(trial))

    def each(self, selector: str) -> Iterator[Mapping[str, Any]]:
        """Yields the ConfigMaps of trials that a label selector selects.

        Raises:
            ApiError: The server refuses.
            RunnerError: The server is out of reach.
        """
        query = {"labelSelector": selector}
        for page in self._api.pages(self._api.path("v1", "configmaps"), query):
            yield from page.get("items") or ()
