"""Holds jobs of Kueue's queues: finds a job's Workload, deactivates it, and reads what it says.

Kueue takes ``spec.suspend`` of a job back within 100 ms, and taking the queue's label off leaves
the job admitted. What lasts is ``spec.active: false`` on the job's Workload, which has the job's
uid as a label. Kueue sees that a moment later: until it says that the Workload is evicted and has
no quota, it may let a job run for a second or two, a waiting one too if a place gets free then.

Source: https://kueue.sigs.k8s.io/docs/concepts/workload/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

from katibflow.runners.kubernetes.api import Api, ApiError

__all__ = [
    "GROUP",
    "PLURAL",
    "Workloads",
    "has_left",
    "has_queue",
    "is_suspended",
    "without_queue",
    "words",
]

GROUP, PLURAL = "kueue.x-k8s.io", "workloads"
QUEUE = f"{GROUP}/queue-name"
_JOB_UID = f"{GROUP}/job-uid"
_VERSIONS = ("v1beta2", "v1beta1")

_PAUSE = 0.2
"""Seconds between two looks at a Workload that is to leave its queue."""


def has_queue(body: Mapping[str, Any]) -> bool:
    """Returns whether a job is in a queue of Kueue's."""
    return bool((body["metadata"].get("labels") or {}).get(QUEUE))


def is_suspended(body: Mapping[str, Any]) -> bool:
    """Returns whether a job of a kind that can wait in a queue is suspended."""
    spec = body.get("spec") or {}
    return True in (spec.get("suspend"), (spec.get("runPolicy") or {}).get("suspend"))


def without_queue(labels: Mapping[str, str]) -> dict[str, str]:
    """Returns the labels without those of Kueue's."""
    return {key: value for key, value in labels.items() if key.partition("/")[0] != GROUP}


class Workloads:
    """Reads and changes the Workloads of jobs in one namespace.

    Args:
        api: Requests in the namespace.
    """

    def __init__(self, api: Api) -> None:
        self._api = api

    def of(self, uid: str) -> Sequence[Mapping[str, Any]]:
        """Returns the Workloads of a job; none if the cluster has no Kueue.

        Raises:
            ApiError: The server refuses.
            RunnerError: The server is out of reach.
        """
        return [workload for _, workload in self._of(uid)]

    def _of(self, uid: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yields each Workload after the API version that the cluster knows."""
        for version in _VERSIONS:
            path = self._api.path(f"{GROUP}/{version}", PLURAL)
            try:
                page = self._api.request("GET", path, {"labelSelector": f"{_JOB_UID}={uid}"})
            except ApiError as error:
                if error.status != 404:
                    raise
                continue
            yield from ((f"{GROUP}/{version}", item) for item in page.get("items") or ())
            return

    def deactivate(self, uid: str) -> bool:
        """Takes a job out of its queue for good; returns whether there was a Workload to do so.

        Raises:
            ApiError: The server refuses.
            RunnerError: The server is out of reach.
        """
        found = False
        for version, workload in self._of(uid):
            path = self._api.path(version, PLURAL, workload["metadata"]["name"])
            try:
                self._api.request("PATCH", path, body={"spec": {"active": False}})
            except ApiError as error:
                if error.status != 404:
                    raise
                continue
            found = True
        return found

    def await_left(self, uid: str) -> bool:
        """Returns whether Kueue lets go of a job that was deactivated, within a bounded time.

        Raises:
            ApiError: The server refuses.
            RunnerError: The server is out of reach.
        """
        until = monotonic() + self._api.timing.leave
        while not all(has_left(workload) for workload in self.of(uid)):
            if monotonic() >= until or self._api.closed.wait(_PAUSE):
                return False
        return True


def has_left(workload: Mapping[str, Any]) -> bool:
    """Returns whether Kueue has no place, and keeps none, for a Workload that is not active."""
    conditions = (workload.get("status") or {}).get("conditions") or ()
    holds = {each["type"] for each in conditions if each["status"] == "True"}
    evicted = "Evicted" in holds and "QuotaReserved" not in holds
    return workload["spec"].get("active") is False and (evicted or "Finished" in holds)


_TELLING = (("Evicted", "True"), ("QuotaReserved", "False"), ("Admitted", "False"))
"""Conditions of a Workload that say why its job does not run, the first one that holds."""


def words(workloads: Sequence[Mapping[str, Any]]) -> str:
    """Returns what Kueue says of a job that does not run; empty if it says nothing (yet)."""
    for workload in workloads:
        if workload["spec"].get("active") is False:
            return "its Workload is not active (spec.active: false)"
        conditions = (workload.get("status") or {}).get("conditions") or ()
        states = {each["type"]: each for each in conditions}
        for kind, status in _TELLING:
            state = states.get(kind)
            if state is not None and state["status"] == status and state.get("message"):
                return f"{kind} is {status}: {state.get('reason', '')}: {state['message'].strip()}"
    return ""
