"""Reads the logs of the pods that a run's trials still have, when the run is over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from katibflow.experiment.job_kinds import kind_of
from katibflow.experiment.types import TrialTemplate
from katibflow.runners.kubernetes.api import Api, ApiError, Lost
from katibflow.runners.kubernetes.job_object import TRIAL, Identity
from katibflow.runners.kubernetes.pods import read_pod

__all__ = ["left_logs"]

_MOST = {"tailLines": "5000", "limitBytes": "1000000"}
"""The greatest part of a log that is read: its last lines, and of those 1 MB."""


def left_logs(
    api: Api, identity: Identity, template: TrialTemplate
) -> Iterator[tuple[str, list[str]]]:
    """Yields name and last lines of the log of each trial's pod, as ``0007.log`` for trial 7.

    The log is that of the pod's first container. Of a trial with several pods that have the labels
    of primary ones, the names have the pods' names too. A log that cannot be read is left out.

    Args:
        api: Requests in the namespace.
        identity: The namespace, experiment and run of the trials.
        template: The kind of the trials; the rest may be missing.

    Raises:
        ApiError: The server refuses to list the pods.
        RunnerError: The server is out of reach.
    """
    kind = kind_of(template.trial_spec or {})
    selector = ",".join(f"{key}={value}" for key, value in identity.labels.items())
    primary: Mapping[str, str] = template.primary_pod_labels or kind.primary_pod_labels or {}
    found: dict[str, list[tuple[str, str]]] = {}
    for page in api.pages(api.path("v1", "pods"), {"labelSelector": selector}):
        for body in page.get("items") or ():
            pod, names = read_pod(body), [each["name"] for each in body["spec"]["containers"]]
            number = pod.labels.get(TRIAL, "")
            if number.isdecimal() and primary.items() <= pod.labels.items():
                found.setdefault(number, []).append((pod.name, names[0]))
    for number, pods in sorted(found.items(), key=lambda item: int(item[0])):
        for pod_name, container in pods:
            lines = _lines(api, pod_name, container)
            if lines:
                suffix = f"-{pod_name}" if pods[1:] else ""
                yield f"{int(number):04}{suffix}.log", lines


def _lines(api: Api, pod: str, container: str) -> list[str]:
    """Returns the last lines of a container's log; as many as came if it breaks off."""
    lines: list[str] = []
    try:
        stream = api.stream(api.path("v1", "pods", pod, "log"), {"container": container, **_MOST})
    except (ApiError, Lost):  # it has not begun, or has gone
        return lines
    try:
        lines.extend(line for line, _ in stream.lines())
    except Lost:
        pass
    finally:
        stream.close()
    return lines
