"""Ends a trial's job or pod in a cluster, and collects logs for the outcome."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from typing import Any

from katibflow.experiment.job_kinds import JobKind
from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.job_object import holds_still, stop_patch, was_stopped
from katibflow.runners.kubernetes.logs import Instance, LogReader, tail
from katibflow.runners.kubernetes.pods import (
    HAS_LOG,
    Finding,
    Pod,
    replica_name,
    training_container,
)
from katibflow.runners.kubernetes.workloads import Workloads, has_queue, is_suspended

__all__ = [
    "TAIL_LINES",
    "delete_pod",
    "end_job",
    "failed_log",
    "is_taken_back",
    "outcome_logs",
]

TAIL_LINES = 20
"""Number of a log's last lines that an outcome's message quotes."""


def end_job(
    api: Api,
    kind: JobKind,
    name: str,
    reason: str,
    tell: Callable[[str], None],
    *,
    job: Mapping[str, Any] | None = None,
    waited: bool = False,
) -> bool:
    """Stops a job: its controller ends the pods, and the object stays if its kind allows that.

    A job that waits in a queue, or did, leaves the queue for good: its Workload is deactivated.
    Where that is not possible the job is deleted, since the queue would resume it.

    Args:
        api: Requests in the namespace.
        kind: The job's kind.
        name: The job's name.
        reason: The reason, for the job's record.
        tell: Called with a sentence about a job that is deleted although its kind can be stopped.
        job: The job as it was last seen; by default it is requested.
        waited: Whether somebody else than katibflow suspended the job before.

    Returns:
        Whether nobody can let the job run again.

    Raises:
        RunnerError: The server refuses; that the job is gone is no error.
    """
    path = api.path(kind.api_version, kind.plural, name)
    try:
        seen = api.request("GET", path) if job is None else job
        held = is_suspended(seen) and was_stopped(seen) is None
        queued = waited or held or has_queue(seen)
        patch = stop_patch(kind, reason)
        if queued:
            # A process that is killed meanwhile leaves a job that is known to be stopped.
            api.request("PATCH", path, body={"metadata": patch["metadata"]})
        leaving = _Leaving.NO if not queued else _leave_queue(api, seen, tell)
        if leaving is not _Leaving.REFUSED:
            # This comes last: Kueue takes a suspension back until it has let go of the job.
            body = api.request("PATCH", path, body=patch)
            if holds_still(kind, body):
                return leaving is _Leaving.DONE
        api.request("DELETE", path, body={"propagationPolicy": "Foreground"})
        return True
    except ApiError as error:
        if error.status != 404:
            raise
        return True


class _Leaving(Enum):
    """How far a job that is to stop has left the queue."""

    DONE = auto()
    ASKED = auto()
    REFUSED = auto()
    NO = auto()


def _leave_queue(api: Api, job: Mapping[str, Any], tell: Callable[[str], None]) -> _Leaving:
    """Takes a job out of its queue for good; tells why if that is not possible."""
    name, uid, workloads = job["metadata"]["name"], job["metadata"]["uid"], Workloads(api)
    try:
        if workloads.deactivate(uid):
            return _Leaving.DONE if workloads.await_left(uid) else _Leaving.ASKED
        why = f"{name} has no Workload to deactivate"
    except ApiError as error:
        if error.status != 403:
            raise
        why = (
            f"the account may not deactivate the Workload of {name} (apply the Role "
            "katibflow-workloads of deploy/role.yaml to keep stopped jobs)"
        )
    tell(f"{why}, and whoever suspended the job could let it run again: it is deleted to stop it")
    return _Leaving.REFUSED


def is_taken_back(kind: JobKind, body: Mapping[str, Any]) -> bool:
    """Returns whether somebody lets a job run again that katibflow stopped."""
    leaves = "deletionTimestamp" in body["metadata"]
    return was_stopped(body) is not None and not leaves and not holds_still(kind, body)


def delete_pod(api: Api, pod: Pod) -> None:
    """Deletes a pod; nothing happens if it is gone, or another pod has its name.

    Raises:
        RunnerError: The server refuses.
    """
    body = {"preconditions": {"uid": pod.uid}} if pod.uid else None
    try:
        api.request("DELETE", api.path("v1", "pods", pod.name), body=body)
    except ApiError as error:
        if error.status not in (404, 409):
            raise


def outcome_logs(api: Api, pods: Iterable[Pod], container: str | None) -> dict[str, str]:
    """Returns replica to the command that shows its log."""
    return {
        replica_name(pod): f"kubectl logs -n {api.namespace} {pod.name}"
        + (f" -c {main.name}" if (main := training_container(pod, container)) else "")
        for pod in pods
    }


def failed_log(
    api: Api, cause: Finding | None, pods: Mapping[str, Pod], followed: LogReader
) -> list[str]:
    """Returns the last lines of the container that failed, if its log is not followed.

    Args:
        api: Requests in the namespace.
        cause: The finding that explains the failure, if there is one.
        pods: The trial's, by name.
        followed: The reader of the primary container's log.
    """
    if cause is None or not cause.container:
        return []
    pod = pods.get(cause.pod)
    container = pod.container(cause.container) if pod else None
    if pod is None or container is None or container.state not in (*HAS_LOG, "waiting"):
        return []
    if container.state == "waiting" and container.last_exit_code is None:
        return []
    if followed.knows(Instance(pod.name, pod.uid, container.name, container.restarts)):
        return []
    previous = container.state == "running" and container.restarts > 0
    return tail(api, pod.name, container.name, TAIL_LINES, previous=previous)
