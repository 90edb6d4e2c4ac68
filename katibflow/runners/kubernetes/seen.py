"""What was seen of a trial: its job and its pods, as values; what they mean is in `verdict`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from katibflow.experiment.job_kinds import JobKind
from katibflow.experiment.timeouts import Limits
from katibflow.runners.kubernetes.api import Timing
from katibflow.runners.kubernetes.causes import Prospect, tells_more
from katibflow.runners.kubernetes.conditions import Conditions
from katibflow.runners.kubernetes.job_object import Shape
from katibflow.runners.kubernetes.pods import (
    Finding,
    Pod,
    findings,
    followed_container,
    primary_pods,
)

__all__ = [
    "Scope",
    "Seen",
    "Terms",
    "accounted_for",
    "alive",
    "found_in",
    "primaries",
    "unread",
]

Scope = tuple[str, ...]
"""What the time of a finding is counted for: the pod, and more of it."""


@dataclass(frozen=True)
class Terms:
    """What a trial is judged by, the same from its first to its last moment.

    Attributes:
        name: The job's.
        kind: The job's.
        shape: What the rendered trialSpec says of its pods.
        conditions: When the job is over.
        labels: primaryPodLabels; None to go by the replica alone.
        primary: Name of the primary container.
        limits: How long the trial may take.
        timing: How long the runner waits for things.
        created: When the job was created, in seconds of the clock that ``now`` is of.
    """

    name: str
    kind: JobKind
    shape: Shape
    conditions: Conditions
    labels: Mapping[str, str] | None
    primary: str | None
    limits: Limits = field(default_factory=Limits)
    timing: Timing = field(default_factory=Timing)
    created: float = 0.0


@dataclass(frozen=True)
class Seen:
    """What was seen of a trial so far.

    Attributes:
        body: The job; None while it was not seen.
        deleted: Whether it was deleted.
        pods: By name those that are there, the first seen first.
        complete: Whether all pods of the job were there at a time.
        cause: What says best, of all that was found, why it fails if it does.
        since: Since when each thing that is wrong now has been, as the last verdict told it.
    """

    body: Mapping[str, Any] | None = None
    deleted: bool = False
    pods: Mapping[str, Pod] = field(default_factory=dict)
    complete: bool = False
    cause: Finding | None = None
    since: Mapping[Scope, float] = field(default_factory=dict)

    def with_pod(self, terms: Terms, pod: Pod) -> Seen:
        """What was seen, when a pod is there or has changed."""
        pods = {**self.pods, pod.name: pod}
        present = sum(not item.deleting for item in pods.values())
        cause = self.cause
        for finding in found_in(terms, pod):
            if finding.prospect is Prospect.REMARK or finding.prospect >= Prospect.CONTROLLER:
                cause = max(cause or finding, finding, key=_weight)
        complete = self.complete or present >= terms.shape.expected
        return replace(self, pods=pods, complete=complete, cause=cause)

    def without_pod(self, name: str) -> Seen:
        """What was seen, when a pod is there no more."""
        pods = {key: pod for key, pod in self.pods.items() if key != name}
        return replace(self, pods=pods)


def found_in(terms: Terms, pod: Pod) -> Iterator[Finding]:
    """What is wrong with a pod of the trial, or just takes long."""
    return findings(pod, terms.primary, terms.shape.allowed_restarts)


def _weight(finding: Finding) -> tuple[bool, Prospect]:
    return tells_more(finding.reason), finding.prospect


# What belongs to an end


def primaries(terms: Terms, seen: Seen) -> tuple[Pod, ...]:
    """The pods whose output holds the metrics, the oldest first."""
    shape, pods = terms.shape, list(seen.pods.values())
    return primary_pods(pods, terms.labels, terms.primary, shape.first_replica, shape.expected)


def alive(seen: Seen) -> list[Pod]:
    """The pods that still run, or are to."""
    return [pod for pod in seen.pods.values() if not pod.is_over]


def unread(terms: Terms, seen: Seen, has_source: bool) -> list[Pod]:
    """The primary pods whose output, or what is read beside it, may go on.

    Args:
        terms: What the trial is judged by.
        seen: What was seen.
        has_source: Whether something is read beside the output.
    """

    def goes_on(pod: Pod) -> bool:
        container = followed_container(pod, terms.primary)
        ended = container is not None and container.state == "terminated" and not has_source
        return not (pod.is_over or ended)

    return [pod for pod in primaries(terms, seen) if goes_on(pod)]


def accounted_for(terms: Terms, seen: Seen, failed: bool, has_log: bool) -> bool:
    """Whether the pods that are known account for their job's end.

    Args:
        terms: What the trial is judged by.
        seen: What was seen.
        failed: Whether the job failed.
        has_log: Whether there was any output to read.
    """
    if not seen.complete:
        return False
    if failed:  # one of them has said why, or none is left that could
        return seen.cause is not None or not alive(seen)
    primary = primaries(terms, seen)
    replaced = bool(primary) and all(pod.phase == "Failed" for pod in primary)
    return has_log and not replaced
