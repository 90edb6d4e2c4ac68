"""Decides from the states of a job and its pods whether the trial is over, and why.

The functions are pure and use no clock and no API. They take the observed states (`Seen`) and the
present time, and return a verdict. The follower of the job keeps the states, asks for a verdict
after each change and at the time that the last verdict named, and acts on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from typing import Any

from katibflow.runners.base import JobOutcome, JobState
from katibflow.runners.kubernetes.attempts import Attempt
from katibflow.runners.kubernetes.awaited import holder_of, missing_pods
from katibflow.runners.kubernetes.causes import Prospect, Reason, cause_of, tells_more
from katibflow.runners.kubernetes.events import Access, explained, status_words
from katibflow.runners.kubernetes.inbox import FOREVER
from katibflow.runners.kubernetes.job_object import STATE, Identity, was_stopped
from katibflow.runners.kubernetes.pods import Finding, Pod, replica_name, taken_away
from katibflow.runners.kubernetes.seen import (
    FindingKey,
    Seen,
    Terms,
    found_in,
    present_attempt,
)

__all__ = [
    "BY_TIME",
    "Adoption",
    "Standing",
    "Verdict",
    "adoption",
    "judge",
    "judged",
    "news",
    "outcome",
]

LINE_LENGTH = 500
"""Number of characters of a log line that an outcome's message quotes."""


class Standing(StrEnum):
    """The standing of a trial; from ENDED on the trial is over.

    UNSEEN: the job was created, and the watch has not shown it yet. SUSPENDED: the job asks for no
    pods, as a queue wants it. STARTING: a container has not begun yet. STUCK: a problem hinders the
    start, or the start takes long. RETRIED: a part failed and is tried again. PODLESS: the job has
    no pods, or they are about to go, and its controller has not decided yet. UNDECIDED: the trial
    is over, unless the controller soon decides otherwise. ENDED: the job's own status says so.
    HELD_OPEN: the work is done, and only a sidecar still runs. BROKEN: the trial cannot go on.
    LATE: the trial did not start in time.
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


BY_TIME = frozenset({Standing.BROKEN, Standing.HELD_OPEN, Standing.LATE, Standing.TIMED_OUT})
"""Ends that katibflow decides from what it sees, so that it looks anew first."""


class Adoption(StrEnum):
    """The treatment of an existing job that has the name of a trial's job to create."""

    FOREIGN = auto()
    LEAVING = auto()
    STOPPED = auto()
    ADOPTED = auto()


@dataclass(frozen=True)
class Verdict:
    """The meaning of the observed states.

    Attributes:
        standing: The standing of the trial.
        state: The end of the job; None while it goes on.
        reason: One word: a `Reason`, or the word of Kubernetes; empty while nothing is wrong.
        message: A sentence for people.
        cause: The finding behind the verdict.
        until: Time to judge again if nothing changes.
        news: Findings to report now.
        since: The next value of `Seen.since`.
        asks: Whether only the trial's Events can say why.
        attempt: The next value of `Seen.attempt`.
    """

    standing: Standing
    state: JobState | None = None
    reason: str = ""
    message: str = ""
    cause: Finding | None = None
    until: float = FOREVER
    news: tuple[Finding, ...] = ()
    since: Mapping[FindingKey, float] = field(default_factory=dict)
    asks: bool = False
    attempt: Attempt = field(default_factory=Attempt)


def judge(terms: Terms, seen: Seen, stop: str | None, now: float) -> Verdict:
    """Returns the verdict on the observed states.

    Args:
        terms: The constant facts of the trial.
        seen: The observed states.
        stop: The reason of a request to stop; None without one.
        now: The present time in seconds.
    """
    attempt = present_attempt(terms, seen, now)
    verdict = _judge(terms, replace(seen, attempt=attempt), stop, now)
    return replace(verdict, attempt=attempt)


def _judge(terms: Terms, seen: Seen, stop: str | None, now: float) -> Verdict:
    stopped, failed = JobState.STOPPED, JobState.FAILED
    if stop is not None:
        return Verdict(Standing.STOPPED, stopped, Reason.STOPPED, stop)
    if seen.deleted:
        text = f"{terms.name} was deleted"
        text += "" if seen.body else " before it was first seen"
        return Verdict(Standing.DELETED, failed, Reason.JOB_DELETED, text)
    if seen.body is None:
        return Verdict(Standing.UNSEEN, since=seen.since)
    why = was_stopped(seen.body)
    if why is not None:
        return Verdict(Standing.STOPPED, stopped, Reason.STOPPED, why)
    end = terms.conditions.end(seen.body)
    if end is not None:
        failed_so = end.state is failed and seen.cause is not None and seen.cause.unexplained
        return Verdict(Standing.ENDED, end.state, end.reason, end.message, asks=failed_so)
    state = seen.body["metadata"].get("labels", {}).get(STATE)
    if state is not None:
        text = f"it is on record as {state}"
        return Verdict(Standing.STOPPED, stopped, Reason.STOPPED, text)
    if seen.attempt.waits:
        return Verdict(Standing.SUSPENDED)
    limit, begun = terms.limits.trial, seen.attempt.begun
    deadline = FOREVER if limit is None or begun is None else begun + limit
    if limit is not None and now >= deadline:
        text = f"the job ran longer than {limit:g} s"
        return Verdict(Standing.TIMED_OUT, failed, Reason.TIMED_OUT, text)
    verdict = _judge_pods(terms, seen, now)
    return replace(verdict, until=min(verdict.until, deadline))


@dataclass(frozen=True)
class _Trouble:
    """A present problem of a trial.

    Attributes:
        prospect: The consequence for the trial, given what the controller will do.
        ask: Time to look for Events about it.
        tell: Time to report it.
        end: Time at which it ends the trial.
    """

    finding: Finding
    prospect: Prospect
    ask: float
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
    since = dict[FindingKey, float]()
    troubles: list[_Trouble] = []
    for key, finding in _present(terms, seen):
        since[key] = seen.since.get(key, now)
        troubles.append(_trouble(terms, seen, finding, since[key], now))
    quiet = (Prospect.WAITING, Prospect.REMARK)  # told when the pod changed, see `news`
    told = tuple(
        each.finding for each in troubles if now >= each.tell and each.prospect not in quiet
    )
    told += tuple(_replaced(terms, seen))
    asks = any(each.finding.unexplained and now >= each.ask for each in troubles)
    over = [each for each in troubles if now >= each.end]
    if over:
        worst = max(over, key=lambda each: each.prospect)
        if worst.prospect in _STARTING:
            early = [each.finding for each in troubles if each.prospect in _STARTING]
            verdict = _late(terms, max(early, key=lambda each: each.prospect), early)
        else:
            verdict = _over(worst.finding)
        return replace(verdict, news=told, since=since, asks=asks)
    present = [pod.phase for pod in seen.pods.values() if not pod.deleting]
    if not troubles:
        standing = Standing.STARTING if "Pending" in present else Standing.RUNNING
        return Verdict(standing if present else Standing.PODLESS, news=told)
    moments = [
        moment
        for each in troubles
        for moment in (each.ask, each.tell, each.end)
        if moment > now and (moment != each.ask or seen.known.access is Access.UNREAD)
    ]
    first = max(troubles, key=lambda each: (each.prospect, now >= each.tell))
    standing = _GOES_ON[first.prospect]
    until = min(moments, default=FOREVER)
    if first.prospect is Prospect.SLOW and now < first.tell:
        standing = Standing.STARTING
        if seen.complete and not present:  # the controller is about to make the next one
            return Verdict(Standing.PODLESS, until=until, news=told, since=since, asks=asks)
    cause = first.finding
    return Verdict(standing, None, cause.reason, str(cause), cause, until, told, since, asks)


def _replaced(terms: Terms, seen: Seen) -> Iterator[Finding]:
    """Yields who took away the pods in whose place others have begun."""
    for lost in seen.lost:
        others = [pod for pod in seen.pods.values() if not (pod.deleting or pod.is_over)]
        for pod in others:
            is_its = terms.has_one_pod or replica_name(pod) == replica_name(lost)
            if is_its and pod.uid != lost.uid and pod.created >= lost.created:
                yield taken_away(lost)
                break


def _trouble(terms: Terms, seen: Seen, finding: Finding, since: float, now: float) -> _Trouble:
    start, timing = terms.limits.start, terms.timing
    prospect = finding.prospect
    pod = seen.pods.get(finding.pod)
    if seen.begun and pod is not None and not terms.awaits(pod):
        prospect = Prospect.REMARK
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
    is_slow = prospect is Prospect.SLOW
    ask = since + (timing.notice / 2 if is_slow else 0.0)
    tell = since + (timing.notice if is_slow else 0.0)
    if is_slow and now >= tell:
        finding = explained(finding, seen.known, terms.namespace, terms.name)
    if finding.reason == Reason.PODS_MISSING:
        words = "" if seen.pods else status_words(terms.kind.kind, seen.body or {})
        finding = replace(finding, message="; ".join(filter(None, (finding.message, words))))
        if seen.complete and not seen.pods:
            patience = FOREVER  # its controller makes the next pods in its own time
    return _Trouble(finding, prospect, ask, tell, since + patience)


_STARTING = (Prospect.SLOW, Prospect.WAITING)


def _late(terms: Terms, worst: Finding, present: Sequence[Finding]) -> Verdict:
    """Returns the verdict on a trial that did not start in time, with what is missing for it."""
    text = f"not started within {terms.limits.start:g} s: {worst}"
    missing = [each for each in present if each.reason == Reason.PODS_MISSING and each != worst]
    for each in missing:
        text += f"; {each.message}"
    return Verdict(Standing.LATE, JobState.FAILED, worst.reason, text, worst)


def _over(worst: Finding) -> Verdict:
    """Returns the verdict on a trial that a problem of its pods ends."""
    if worst.reason == Reason.SIDECAR_KEEPS_POD_ALIVE:
        standing, state = Standing.HELD_OPEN, JobState.SUCCEEDED
    else:
        standing, state = Standing.BROKEN, JobState.FAILED
    return Verdict(standing, state, worst.reason, str(worst), worst)


def _present(terms: Terms, seen: Seen) -> Iterator[tuple[FindingKey, Finding]]:
    """Yields each present finding, after the key under which its time is counted."""
    for pod in seen.pods.values():
        if pod.deleting:
            continue
        for finding in found_in(terms, seen, pod):
            if finding.prospect is Prospect.SLOW and seen.begun and not terms.awaits(pod):
                continue
            container = finding.container if finding.prospect >= Prospect.SETTLING else ""
            yield (pod.uid, container, finding.prospect.name if container else ""), finding
    missing = missing_pods(terms, seen)
    if missing:
        yield ("", "", ""), Finding("", "", Reason.PODS_MISSING, missing, Prospect.SLOW, True)
    holder = holder_of(terms, seen)
    if holder:
        yield ("", "", holder.reason), holder


def _left_to_controller(terms: Terms, seen: Seen, finding: Finding) -> bool:
    """Returns whether the job's controller is certain to decide about a failed pod.

    The Training Operator may leave a job running without one of its replicas; the controllers
    of the other kinds count failures, or start another pod after a while.
    """
    pod = seen.pods.get(finding.pod)
    if pod is None or pod.phase != "Failed":
        return False
    if terms.is_retried(pod):
        return True
    replaced = any(
        other.phase != "Failed" and replica_name(other) == replica_name(pod)
        for other in seen.pods.values()
    )
    return replaced or not terms.kind.replica_specs


def news(terms: Terms, seen: Seen, pod: Pod) -> Iterator[Finding]:
    """Yields the findings to report about a pod that has changed."""
    for item in found_in(terms, seen, pod):
        # whether a deleted pod means anything shows when another one begins, or the job ends
        if not (item.prospect is Prospect.SLOW or cause_of(item.reason).is_weak or seen.closed):
            yield item


def judged(seen: Seen, verdict: Verdict) -> Seen:
    """Returns the observed states, with the parts of a verdict that the next one needs."""
    is_own = verdict.standing in (Standing.BROKEN, Standing.LATE)
    closed = verdict.state is not None and verdict.standing is not Standing.ENDED
    seen = replace(seen, since=verdict.since, attempt=verdict.attempt, closed=closed)
    if verdict.attempt.waits:  # whatever became of the pods, the job begins anew
        return replace(seen, cause=None, complete=False, begun=False, starts={}, lost=())
    return replace(seen, cause=verdict.cause if is_own else seen.cause)


def outcome(
    verdict: Verdict, seen: Seen, logs: Mapping[str, str], lines: Sequence[str]
) -> JobOutcome:
    """Returns the trial's outcome for the engine; a failed one with its pods' explanation.

    Args:
        verdict: The last verdict; the trial is over.
        seen: The observed states, also of the time after the verdict.
        logs: Replica name to the command that shows its log.
        lines: The last lines of a failed trial's log.
    """
    assert verdict.state is not None
    reason, text = verdict.reason, verdict.message
    if verdict.state is not JobState.FAILED:
        return JobOutcome(verdict.state, reason, text, logs)
    cause = seen.cause
    if cause and cause_of(cause.reason).is_weak and reason and not cause_of(reason).leaves_open:
        cause = None
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
    """Returns the treatment of an existing job that has the name of a trial's job.

    Args:
        identity: The namespace, experiment and run of the trial.
        number: The trial's number.
        found: The existing job.
    """
    if not identity.owns(found, number):
        return Adoption.FOREIGN
    if "deletionTimestamp" in found["metadata"]:
        return Adoption.LEAVING
    return Adoption.ADOPTED if was_stopped(found) is None else Adoption.STOPPED
