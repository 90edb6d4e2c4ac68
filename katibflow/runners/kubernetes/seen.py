"""The states of a trial's job and pods as values; `verdict` decides what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from katibflow.experiment.job_kinds import JobKind
from katibflow.experiment.timeouts import Limits
from katibflow.runners.kubernetes.api import Timing
from katibflow.runners.kubernetes.attempts import Attempt, attempt_after
from katibflow.runners.kubernetes.causes import Prospect, cause_of
from katibflow.runners.kubernetes.conditions import Conditions
from katibflow.runners.kubernetes.events import Access, Known, WarningEvent, explained
from katibflow.runners.kubernetes.job_object import Shape, holds_still, was_stopped
from katibflow.runners.kubernetes.pods import (
    REPLICA_LABEL,
    Finding,
    Pod,
    failed_starts,
    findings,
    followed_container,
    is_taken,
    primary_pods,
    taken_away,
)

__all__ = [
    "FindingKey",
    "Seen",
    "Terms",
    "accounted_for",
    "alive",
    "found_in",
    "present_attempt",
    "primaries",
    "unread",
]

JOB_RETRIES = 6
"""The backoffLimit of a batch Job that gives none."""

FindingKey = tuple[str, ...]
"""The key under which a finding's time is counted: the pod, a container, and more."""


@dataclass(frozen=True)
class Terms:
    """The constant facts by which a trial is judged.

    Attributes:
        name: The job's name.
        kind: The job's kind.
        shape: The pods that the rendered trialSpec describes.
        conditions: The conditions under which the job is over.
        labels: primaryPodLabels; None: only the replica counts.
        primary: Name of the primary container.
        limits: Time limits of the trial.
        timing: Time limits of the runner.
        created: Time of the job's creation, in seconds of the same clock as ``now``.
        namespace: The job's namespace, for messages.
        created_at: The same time by the cluster's clock; None if it is not known.
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
    namespace: str = ""
    created_at: datetime | None = None

    @property
    def has_one_pod(self) -> bool:
        """Returns whether the job has one pod at a time."""
        return bool(self.kind.pod_template) and self.shape.expected == 1

    def does_work(self, pod: Pod) -> bool:
        """Returns whether a pod says anything about the trial's end.

        Every pod that is made from a template of the job does. Of a kind whose controllers make
        other pods too (initializers, a Ray cluster, the steps of a Workflow) those with the primary
        labels and the primary container do.
        """
        if self.kind.replica_specs or self.kind.pod_template:
            return True
        return self._is_peer(pod) and (self.labels or {}).items() <= pod.labels.items()

    def awaits(self, pod: Pod) -> bool:
        """Returns whether a pod has to start even if the trial's work has begun elsewhere.

        The other nodes of a TrainJob do; a Ray worker or the next step of a Workflow does not.
        """
        return self.does_work(pod) or (self._is_peer(pod) and not self.kind.has_stages)

    def _is_peer(self, pod: Pod) -> bool:
        return self.primary is None or pod.container(self.primary) is not None

    def is_retried(self, pod: Pod) -> bool:
        """Returns whether the operator runs the replica as a batch Job, which starts it again."""
        return pod.labels.get(REPLICA_LABEL) in self.kind.job_replicas

    def allowed_restarts(self, pod: Pod) -> int | None:
        """Returns the number of crashes that are allowed; None: the template does not say."""
        allowed = self.shape.allowed_restarts
        return JOB_RETRIES if allowed is None and self.is_retried(pod) else allowed


@dataclass(frozen=True)
class Seen:
    """The observed states of a trial's job and pods.

    Attributes:
        body: The job object; None until it is first seen.
        deleted: Whether the job was deleted.
        pods: The existing pods by name, the first seen first.
        complete: Whether all pods of the job have existed at the same time.
        begun: Whether the primary container of a pod that does the trial's work has begun.
        cause: The finding that best explains a failure, of all findings so far.
        since: The start of each present problem, from the last verdict.
        known: What is known from the trial's Events.
        starts: Each failed start that cannot heal, and the instances of the container that had it,
            the last one last.
        lost: The pods that were taken away before they had ended.
        closed: Whether the trial is over for katibflow, which ends the pods itself: what they come
            to is no cause any more.
        attempt: The present attempt of the job, from the last verdict.
    """

    body: Mapping[str, Any] | None = None
    deleted: bool = False
    pods: Mapping[str, Pod] = field(default_factory=dict)
    complete: bool = False
    begun: bool = False
    cause: Finding | None = None
    since: Mapping[FindingKey, float] = field(default_factory=dict)
    known: Known = field(default_factory=Known)
    starts: Mapping[tuple[str, str, str], tuple[tuple[str, int], ...]] = field(default_factory=dict)
    lost: tuple[Pod, ...] = ()
    closed: bool = False
    attempt: Attempt = field(default_factory=Attempt)

    def with_pod(self, terms: Terms, pod: Pod) -> Seen:
        """Returns the state after a pod was added or changed."""
        pods = {**self.pods, pod.name: pod}
        present = sum(not item.deleting for item in pods.values())
        complete = self.complete or present >= terms.shape.expected
        begun = self.begun or (terms.does_work(pod) and _has_begun(terms, pod))
        starts = dict(self.starts)
        for failure, instance in failed_starts(pod):
            had = starts.get(failure, ())
            starts[failure] = had if instance in had else (*had, instance)
        after = replace(self, pods=pods, complete=complete, begun=begun, starts=starts)
        after = after._losing(pod) if is_taken(pod) else after
        return after._with_cause_of(terms, pod)

    def without_pod(self, name: str) -> Seen:
        """Returns the state after a pod was deleted."""
        pods = {key: pod for key, pod in self.pods.items() if key != name}
        gone, after = self.pods.get(name), replace(self, pods=pods)
        if gone is None or gone.is_over or gone.deleting:
            return after
        gone = replace(gone, deleting=True)  # by force, without time to end
        is_ours = self.closed or gone.uid in self.attempt.former
        cause = self.cause if is_ours else self.cause or taken_away(gone)
        return replace(after._losing(gone), cause=cause)

    def with_warning(self, terms: Terms, name: str, warning: WarningEvent) -> Seen:
        """Returns the state after an Event of that name came, or came again."""
        after = replace(self, known=self.known.with_warning(name, warning))
        for pod in self.pods.values():
            if (warning.kind, warning.name) == ("Pod", pod.name):
                after = after._with_cause_of(terms, pod)
        return after

    def with_access(self, terms: Terms, access: Access) -> Seen:
        """Returns the state after it became known whether Events may be read."""
        after = replace(self, known=replace(self.known, access=access))
        for pod in self.pods.values():
            after = after._with_cause_of(terms, pod)
        return after

    def _losing(self, pod: Pod) -> Seen:
        known = any(pod.uid == each.uid for each in self.lost) or pod.uid in self.attempt.former
        return self if known else replace(self, lost=(*self.lost, pod))

    def _with_cause_of(self, terms: Terms, pod: Pod) -> Seen:
        if self.closed:
            return self
        cause = self.cause
        for finding in found_in(terms, self, pod):
            if finding.prospect is Prospect.REMARK or finding.prospect >= Prospect.CONTROLLER:
                cause = _better(terms, cause, finding)
        return replace(self, cause=cause)


def _has_begun(terms: Terms, pod: Pod) -> bool:
    container = followed_container(pod, terms.primary)
    return pod.is_over or (
        container is not None
        and (container.restarts > 0 or container.state in ("running", "terminated"))
    )


def found_in(terms: Terms, seen: Seen, pod: Pod) -> Iterator[Finding]:
    """Yields what is wrong with a pod of the trial, or only takes long; not of earlier attempts."""
    if pod.uid in seen.attempt.former:
        return
    if any(pod.uid == each.uid for each in seen.lost):  # its end is not its own
        if pod.phase != "Succeeded":
            yield taken_away(pod)
        return
    for finding in findings(pod, terms.primary, terms.allowed_restarts(pod)):
        if finding.prospect is not Prospect.SLOW:  # that is explained when its time has come
            finding = explained(finding, seen.known, terms.namespace, terms.name)
        finding = _cannot_start(seen, pod, finding) or finding
        if terms.does_work(pod) or finding.prospect <= Prospect.WAITING:
            yield finding
        else:  # the job's controller decides; until it has, the trial's work does not start
            is_ended = finding.prospect is Prospect.CONTROLLER or pod.is_over
            prospect = Prospect.REMARK if is_ended else Prospect.WAITING
            yield replace(finding, prospect=prospect)


def _cannot_start(seen: Seen, pod: Pod, finding: Finding) -> Finding | None:
    """Returns a finding that ends the trial if its container failed to start twice alike."""
    for failure, _ in failed_starts(pod):
        container, reason, _ = failure
        had = seen.starts.get(failure, ())
        is_last = container == finding.container and bool(had) and had[-1][0] == pod.uid
        if is_last and len(had) > 1:
            text = f"{finding.message}; it failed alike the second time"
            return replace(finding, reason=reason, message=text, prospect=Prospect.HOPELESS)
    return None


def _better(terms: Terms, cause: Finding | None, finding: Finding) -> Finding:
    """Returns the one of two findings that explains a failure better."""
    if cause is None:
        return finding
    is_next = finding.pod != cause.pod and terms.has_one_pod
    if is_next and finding.prospect >= Prospect.CONTROLLER:
        return finding  # of the last try
    is_same = (finding.pod, finding.container, finding.reason) == (
        cause.pod,
        cause.container,
        cause.reason,
    )
    if is_same and finding.prospect >= cause.prospect:
        return finding  # with more words
    return max(cause, finding, key=_weight)


def _weight(finding: Finding) -> tuple[bool, bool, Prospect]:
    cause = cause_of(finding.reason)
    return not cause.is_weak, cause.tells_more, finding.prospect


# What belongs to an end


def primaries(terms: Terms, seen: Seen) -> tuple[Pod, ...]:
    """Returns the pods whose output holds the metrics, the oldest first.

    Pods of an earlier attempt are left out.
    """
    shape = terms.shape
    pods = [pod for pod in seen.pods.values() if pod.uid not in seen.attempt.former]
    return primary_pods(pods, terms.labels, terms.primary, shape.first_replica, shape.expected)


def present_attempt(terms: Terms, seen: Seen, now: float) -> Attempt:
    """Returns the attempt in which the job is.

    Args:
        terms: The constant facts of the trial.
        seen: The observed states, with the attempt of the last verdict.
        now: The present time in seconds.
    """
    body = seen.body
    still = body is not None and holds_still(terms.kind, body) and was_stopped(body) is None
    return attempt_after(
        seen.attempt,
        suspended=still,
        pods=list(seen.pods.values()),
        primaries=primaries(terms, seen),
        primary=terms.primary,
        clock=(terms.created, terms.created_at),
        now=now,
    )


def alive(seen: Seen) -> list[Pod]:
    """Returns the pods that run or will run."""
    return [pod for pod in seen.pods.values() if not pod.is_over]


def unread(terms: Terms, seen: Seen, has_source: bool) -> list[Pod]:
    """Returns the primary pods whose output, or whose source of metrics, may go on.

    Args:
        terms: The constant facts of the trial.
        seen: The observed states.
        has_source: Whether a source besides the output is read.
    """

    def goes_on(pod: Pod) -> bool:
        container = followed_container(pod, terms.primary)
        ended = container is not None and container.state == "terminated" and not has_source
        return not (pod.is_over or ended)

    return [pod for pod in primaries(terms, seen) if goes_on(pod)]


def accounted_for(terms: Terms, seen: Seen, failed: bool, has_log: bool) -> bool:
    """Returns whether the known pods explain their job's end.

    Args:
        terms: The constant facts of the trial.
        seen: The observed states.
        failed: Whether the job failed.
        has_log: Whether any output could be read.
    """
    if not seen.complete:
        return False
    if failed:  # one of them has said why, or none is left that could
        return seen.cause is not None or not alive(seen)
    primary = primaries(terms, seen)
    replaced = bool(primary) and all(pod.phase == "Failed" for pod in primary)
    return has_log and not replaced
