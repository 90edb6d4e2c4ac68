"""What the states of a job and its pods mean: whether the trial is over, and why, or what it lacks.

Pure: what was seen and the present moment in, a verdict out. No clock and no API; whoever follows
the job keeps what was seen (`Seen`), asks for a verdict after each change and at the moment that
the last one named, and does what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from katibflow.experiment.job_kinds import JobKind
from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.api import Timing
from katibflow.runners.kubernetes.causes import Prospect, Reason, tells_more
from katibflow.runners.kubernetes.conditions import Conditions
from katibflow.runners.kubernetes.inbox import FOREVER
from katibflow.runners.kubernetes.job_object import (
    STATE,
    Identity,
    Shape,
    holds_still,
    was_stopped,
)
from katibflow.runners.kubernetes.pods import (
    Finding,
    Pod,
    findings,
    followed_container,
    held_open,
    primary_pods,
    replica_name,
)

__all__ = [
    "Adoption",
    "Seen",
    "Standing",
    "Terms",
    "Verdict",
    "accounted_for",
    "adoption",
    "alive",
    "judge",
    "news",
    "primaries",
    "unread",
]


class Standing(StrEnum):
    """How a trial stands; from ENDED on it is over.

    UNSEEN: its job was created, and is not in the watch yet. SUSPENDED: its job is to have no pods,
    as a queue wants it. STARTING: something has not begun yet. STUCK: it hinders the start, or
    takes long. RETRIED: a part of it failed and is tried again. UNDECIDED: it is over, unless the
    job's controller says otherwise in a moment. ENDED: the job itself says so. HELD_OPEN: the work
    is done, and only a sidecar runs on. BROKEN: it cannot go on. LATE: it did not start in time.
    """

    UNSEEN = "unseen"
    SUSPENDED = "suspended"
    STARTING = "starting"
    STUCK = "stuck"
    RUNNING = "running"
    RETRIED = "retried"
    UNDECIDED = "undecided"
    ENDED = "ended"
    HELD_OPEN = "held open"
    BROKEN = "broken"
    LATE = "late"
    TIMED_OUT = "timed out"
    DELETED = "deleted"
    STOPPED = "stopped"


class Adoption(StrEnum):
    """What becomes of a job that is there already when a trial's is to be created."""

    FOREIGN = "foreign"
    LEAVING = "leaving"
    STOPPED = "stopped"
    ADOPTED = "adopted"


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


Scope = tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """What was seen of a trial so far.

    Attributes:
        body: The job; None while it was not seen.
        deleted: Whether it was deleted.
        pods: By name those that are there, the first seen first.
        complete: Whether all pods of the job were there at a time.
        cause: What says best, of all that was found, why it fails if it does.
        since: Since when each thing that is wrong now has been, as `judge` tells it.
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
        for finding in _findings(terms, pod):
            if finding.prospect is Prospect.REMARK or finding.prospect >= Prospect.CONTROLLER:
                cause = max(cause or finding, finding, key=_weight)
        complete = self.complete or present >= terms.shape.expected
        return replace(self, pods=pods, complete=complete, cause=cause)

    def without_pod(self, name: str) -> Seen:
        """What was seen, when a pod is there no more."""
        pods = {key: pod for key, pod in self.pods.items() if key != name}
        return replace(self, pods=pods)


@dataclass(frozen=True)
class Verdict:
    """What was seen means this.

    Attributes:
        standing: How the trial stands.
        state: How it ended; None while it goes on.
        reason: One word: a `Reason` of ours, or as Kubernetes has it. Empty while nothing is wrong.
        message: A sentence for people.
        cause: The finding it comes from.
        until: When to judge again, should nothing change.
        news: Findings that have become worth a word.
        since: For `Seen.since`.
    """

    standing: Standing
    state: JobState | None = None
    reason: str = ""
    message: str = ""
    cause: Finding | None = None
    until: float = FOREVER
    news: tuple[Finding, ...] = ()
    since: Mapping[Scope, float] = field(default_factory=dict)


def judge(terms: Terms, seen: Seen, stop: str | None, now: float) -> Verdict:
    """Says what was seen means.

    Args:
        terms: What the trial is judged by.
        seen: What was seen.
        stop: Why it is to be stopped; None if it is not.
        now: The present moment in seconds.
    """
    stopped, failed = JobState.STOPPED, JobState.FAILED
    if stop is not None:
        return Verdict(Standing.STOPPED, stopped, Reason.STOPPED, stop)
    if seen.deleted:
        text = f"{terms.name} was deleted"
        return Verdict(Standing.DELETED, failed, Reason.JOB_DELETED, text)
    if seen.body is None:
        return Verdict(Standing.UNSEEN, since=seen.since)
    why = was_stopped(seen.body)
    if why is not None:
        return Verdict(Standing.STOPPED, stopped, Reason.STOPPED, why)
    end = terms.conditions.end(seen.body)
    if end is not None:
        return Verdict(Standing.ENDED, end.state, end.reason, end.message)
    state = seen.body["metadata"].get("labels", {}).get(STATE)
    if state is not None:
        text = f"it is on record as {state}"
        return Verdict(Standing.STOPPED, stopped, Reason.STOPPED, text)
    limit = terms.limits.trial
    deadline = FOREVER if limit is None else terms.created + limit
    if now >= deadline:
        text = f"the job ran longer than {limit:g} s"
        return Verdict(Standing.TIMED_OUT, failed, Reason.TIMED_OUT, text)
    if holds_still(terms.kind, seen.body):
        return Verdict(Standing.SUSPENDED, until=deadline)
    verdict = _judge_pods(terms, seen, now)
    return replace(verdict, until=min(verdict.until, deadline))


@dataclass(frozen=True)
class _Trouble:
    """Something that is wrong now.

    Attributes:
        prospect: What becomes of it, when what the controller will do is taken into account.
        tell: When it is worth a word.
        end: When it is the end of the trial.
    """

    finding: Finding
    prospect: Prospect
    tell: float
    end: float


_GOES_ON: Mapping[Prospect, Standing] = {
    Prospect.REMARK: Standing.RETRIED,
    Prospect.SLOW: Standing.STUCK,
    Prospect.WAITING: Standing.STUCK,
    Prospect.SETTLING: Standing.STUCK,
    Prospect.CONTROLLER: Standing.UNDECIDED,
}


def _judge_pods(terms: Terms, seen: Seen, now: float) -> Verdict:
    since = dict[Scope, float]()
    troubles: list[_Trouble] = []
    for scope, finding in _present(terms, seen):
        since[scope] = seen.since.get(scope, now)
        troubles.append(_trouble(terms, seen, finding, since[scope]))
    quiet = (Prospect.WAITING, Prospect.REMARK)  # told when the pod changed, see `news`
    told = tuple(
        each.finding for each in troubles if now >= each.tell and each.prospect not in quiet
    )
    over = [each for each in troubles if now >= each.end]
    if over:
        worst = max(over, key=lambda each: each.prospect).finding
        return replace(_over(terms, worst), news=told, since=since)
    if not troubles:
        return Verdict(Standing.RUNNING)
    moments = [moment for each in troubles for moment in (each.tell, each.end) if moment > now]
    first = max(troubles, key=lambda each: (each.prospect, now >= each.tell))
    standing = _GOES_ON[first.prospect]
    if first.prospect is Prospect.SLOW and now < first.tell:
        standing = Standing.STARTING
    cause = first.finding
    until = min(moments, default=FOREVER)
    return Verdict(standing, None, cause.reason, str(cause), cause, until, told, since)


def _trouble(terms: Terms, seen: Seen, finding: Finding, since: float) -> _Trouble:
    start, timing = terms.limits.start, terms.timing
    prospect = finding.prospect
    if prospect is Prospect.CONTROLLER and _left_to_controller(terms, seen, finding):
        prospect = Prospect.REMARK
    patience = {
        Prospect.REMARK: FOREVER,
        Prospect.SLOW: start,
        Prospect.WAITING: start,
        Prospect.SETTLING: min(timing.settle, start),
        Prospect.CONTROLLER: timing.grace,
        Prospect.HOPELESS: 0.0,
    }[prospect]
    tell = since + (timing.notice if prospect is Prospect.SLOW else 0.0)
    return _Trouble(finding, prospect, tell, since + patience)


def _over(terms: Terms, worst: Finding) -> Verdict:
    """The verdict on a trial that something of its pods ends."""
    if worst.prospect in (Prospect.SLOW, Prospect.WAITING):
        text = f"not started within {terms.limits.start:g} s: {worst}"
        return Verdict(Standing.LATE, JobState.FAILED, worst.reason, text, worst)
    if worst.reason == Reason.SIDECAR_KEEPS_POD_ALIVE:
        standing, state = Standing.HELD_OPEN, JobState.SUCCEEDED
    else:
        standing, state = Standing.BROKEN, JobState.FAILED
    return Verdict(standing, state, worst.reason, str(worst), worst)


def _findings(terms: Terms, pod: Pod) -> Iterator[Finding]:
    return findings(pod, terms.primary, terms.shape.allowed_restarts)


def _present(terms: Terms, seen: Seen) -> Iterator[tuple[Scope, Finding]]:
    """Each finding of now, under what its time is counted for."""
    for pod in seen.pods.values():
        if pod.deleting:
            continue
        for finding in _findings(terms, pod):
            scope = finding.container if finding.prospect >= Prospect.SETTLING else ""
            yield (pod.uid, scope, finding.prospect.name if scope else ""), finding
    expected = terms.shape.expected
    missing = expected - len(seen.pods)
    if missing > 0 and not seen.complete:
        text = (
            f"{missing} of {expected} pods are not there; the controller of "
            f"{terms.kind.kind} is not running, or a quota is used up"
        )
        yield ("", "", ""), Finding("", "", Reason.PODS_MISSING, text, Prospect.SLOW)
    holder = held_open(list(seen.pods.values()), terms.primary, expected)
    if holder:
        yield ("", "", holder.reason), holder


def _left_to_controller(terms: Terms, seen: Seen, finding: Finding) -> bool:
    """Whether a failed pod is certain to be decided about by the job's controller.

    The Training Operator may leave a job running without one of its replicas; the controllers
    of the other kinds count failures, or start another pod after a while.
    """
    pod = seen.pods.get(finding.pod)
    if pod is None or pod.phase != "Failed":
        return False
    replaced = any(
        other.phase != "Failed" and replica_name(other) == replica_name(pod)
        for other in seen.pods.values()
    )
    return replaced or not terms.kind.replica_specs


def _weight(finding: Finding) -> tuple[bool, Prospect]:
    return tells_more(finding.reason), finding.prospect


def news(terms: Terms, pod: Pod) -> Iterator[Finding]:
    """What is worth a word of a pod that has changed."""
    return (item for item in _findings(terms, pod) if item.prospect is not Prospect.SLOW)


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


def adoption(identity: Identity, number: int, found: Mapping[str, Any]) -> Adoption:
    """Says what becomes of a job of the name that a trial's is to have.

    Args:
        identity: Whose job it should be.
        number: The trial's.
        found: The job that is there.
    """
    if not identity.owns(found, number):
        return Adoption.FOREIGN
    if "deletionTimestamp" in found["metadata"]:
        return Adoption.LEAVING
    return Adoption.ADOPTED if was_stopped(found) is None else Adoption.STOPPED
