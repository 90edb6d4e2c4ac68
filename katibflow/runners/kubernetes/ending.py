"""Ends a trial's job or pod in a cluster, and collects logs for the outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from katibflow.experiment.job_kinds import JobKind
from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.job_object import holds_still, stop_patch
from katibflow.runners.kubernetes.logs import Instance, LogReader, tail
from katibflow.runners.kubernetes.pods import Finding, Pod, replica_name, training_container

__all__ = [
    "HAS_LOG",
    "TAIL_LINES",
    "delete_pod",
    "end_job",
    "failed_log",
    "outcome_logs",
]

TAIL_LINES = 20
"""Number of a log's last lines that an outcome's message quotes."""

HAS_LOG = ("running", "terminated")
"""States of a container that has a log."""


def end_job(api: Api, kind: JobKind, name: str, reason: str) -> None:
    """Stops a job: its controller ends the pods, and the object stays if its kind allows that.

    Raises:
        RunnerError: The server refuses; that the job is gone is no error.
    """
    path = api.path(kind.api_version, kind.plural, name)
    try:
        body = api.request("PATCH", path, body=stop_patch(kind, reason))
        if not holds_still(kind, body):
            api.request("DELETE", path, body={"propagationPolicy": "Foreground"})
    except ApiError as error:
        if error.status != 404:
            raise


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
