"""What the states of a job and its pods mean: whether the trial is over, and why, or what it lacks.

Pure: what was seen and the present moment in, a verdict out. No clock and no API; whoever follows
the job keeps what was seen (`Seen`), asks for a verdict after each change and at the moment that
the last one named, and does what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from typing import Any

from katibflow.runners.base import JobOutcome, JobState
from katibflow.runners.kubernetes.causes import Prospect, Reason, tells_more
from katibflow.runners.kubernetes.inbox import FOREVER
from katibflow.runners.kubernetes.job_object import STATE, Identity, holds_still, was_stopped
from katibflow.runners.kubernetes.pods import Finding, Pod, held_open, replica_name
from katibflow.runners.kubernetes.seen import Scope, Seen, Terms, found_in

__all__ = ["Adoption", "Standing", "Verdict", "adoption", "judge", "judged", "news", "outcome"]

LINE_LENGTH = 500
"""What of a line of a log gets into an outcome's message."""


class Standing(StrEnum):
    """How a trial stands; from ENDED on it is over.

    UNSEEN: its job was created, and is not in the watch yet. SUSPENDED: its job is to have no pods,
    as a queue wants it. STARTING: something has not begun yet. STUCK: it hinders the start, or
    takes long. RETRIED: a part of it failed and is tried again. PODLESS: its pods are gone or on
    their way, and its controller has not said yet what comes. UNDECIDED: it is over, unless the
    controller says otherwise in a moment. ENDED: the job itself says so. HELD_OPEN: the work is
    done, and only a sidecar runs on. BROKEN: it cannot go on. LATE: it did not start in time.
    """

    UNSEEN = auto()
    SUSPENDED = auto()
    STARTING = auto()
    STUCK = auto()
    RUNNING = auto()
    RETRIED = auto()
    PODLESS = auto()
    UNDECIDED = auto()
    ENDED = auto()
    HELD_OPEN = auto()
    BROKEN = auto()
    LATE = auto()
    TIMED_OUT = auto()
    DELETED = auto()
    STOPPED = auto()


class Adoption(StrEnum):
    """What becomes of a job that is there already when a trial's is to be created."""

    FOREIGN = auto()
    LEAVING = auto()
    STOPPED = auto()
    ADOPTED = auto()


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
        present = [pod.phase for pod in seen.pods.values() if not pod.deleting]
        standing = Standing.STARTING if "Pending" in present else Standing.RUNNING
        return Verdict(standing if present else Standing.PODLESS)
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


def _present(terms: Terms, seen: Seen) -> Iterator[tuple[Scope, Finding]]:
    """Each finding of now, under what its time is counted for."""
    for pod in seen.pods.values():
        if pod.deleting:
            continue
        for finding in found_in(terms, pod):
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


def news(terms: Terms, pod: Pod) -> Iterator[Finding]:
    """What is worth a word of a pod that has changed."""
    return (item for item in found_in(terms, pod) if item.prospect is not Prospect.SLOW)


def judged(seen: Seen, verdict: Verdict) -> Seen:
    """What was seen, with what the verdict on it has to be remembered by the next one."""
    cause = verdict.cause if verdict.standing is Standing.BROKEN else seen.cause
    return replace(seen, cause=cause, since=verdict.since)


def outcome(
    verdict: Verdict, seen: Seen, logs: Mapping[str, str], lines: Sequence[str]
) -> JobOutcome:
    """The end of a trial, for the engine; of one that failed with what its pods say of it.

    Args:
        verdict: The last one, of a trial that is over.
        seen: What was seen, also after the verdict.
        logs: Replica to where its log is.
        lines: The last of the log, of a trial that failed.
    """
    assert verdict.state is not None
    reason, text = verdict.reason, verdict.message
    if verdict.state is not JobState.FAILED:
        return JobOutcome(verdict.state, reason, text, logs)
    cause = seen.cause
    if cause and cause != verdict.cause:
        text = f"{text}; {cause}" if text else str(cause)
        reason = cause.reason if tells_more(cause.reason) or not reason else reason
    reason = reason or Reason.JOB_FAILED
    if lines:
        text = f"{text or reason}; the last lines of its log:\n" + "\n".join(
            line[:LINE_LENGTH] for line in lines
        )
    return JobOutcome(verdict.state, reason, text, logs)


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
