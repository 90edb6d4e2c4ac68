"""Replays trials that were recorded on a real Kubernetes, with their own times, for verdicts.

A record is JSON lines: what the trial was, then each object as a watch told it, with the seconds
since its job was there. It ends before the first thing that katibflow did to the job.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from katibflow.experiment import job_kinds
from katibflow.experiment.timeouts import Limits
from katibflow.experiment.types import TrialTemplate
from katibflow.runners.kubernetes.api import Timing
from katibflow.runners.kubernetes.conditions import Conditions
from katibflow.runners.kubernetes.events import Access, read_warning
from katibflow.runners.kubernetes.inbox import FOREVER
from katibflow.runners.kubernetes.job_object import Shape
from katibflow.runners.kubernetes.pods import read_pod
from katibflow.runners.kubernetes.seen import Seen, Terms
from katibflow.runners.kubernetes.verdict import Verdict, judge, judged, outcome
from tests.paths import RECORDED

FOLDER = RECORDED / "trials"
START = 75.0
"""Seconds that the recorded trials had to start."""

Change = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Recording:
    """A recorded trial.

    Attributes:
        terms: The constant facts of the trial.
        events: Second, type of the watch's event, and object.
        told: The recorded end, without the log: state, reason and message.
    """

    terms: Terms
    events: tuple[tuple[float, str, Mapping[str, Any]], ...]
    told: Mapping[str, str] | None


def recording(name: str, change: Change = lambda body: body) -> Recording:
    """Reads a record; ``change`` makes another object of each."""
    with gzip.open(FOLDER / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        head, *rest = map(json.loads, lines)
    template = TrialTemplate.model_validate(head["template"])
    manifest = template.trial_spec or {}
    kind = job_kinds.kind_of(manifest)
    labels = template.primary_pod_labels or kind.primary_pod_labels or {}
    terms = Terms(
        name=head["job"],
        kind=kind,
        shape=Shape.of(manifest),
        conditions=Conditions(
            template.success_condition or kind.success_condition or "",
            template.failure_condition or kind.failure_condition or "",
        ),
        labels=None if kind.kind == "PyTorchJob" else labels,
        primary=template.primary_container_name,
        limits=Limits(start=START),
        timing=Timing(),
    )
    events = ((each["at"], each["type"], change(each["object"])) for each in rest)
    return Recording(terms, tuple(events), head["told"])


def verdicts(record: Recording) -> Iterator[tuple[float, Verdict, Seen]]:
    """Yields each verdict, its time, and the states that were observed by then.

    There is one after each change, and one when the one before said to look again. The last is of
    a trial that is over, or of one that only a change could move any more.
    """
    terms, seen, until = record.terms, Seen(), FOREVER
    held: list[Mapping[str, Any]] = []  # Events that nobody has asked for
    for at, kind, body in (*record.events, (FOREVER, "", {})):
        moments = [until] if until < at else [at]
        while moments:
            moment = moments.pop()
            if moment == FOREVER:
                return
            if moment == at and body:
                if body["kind"] == "Event" and seen.known.access is Access.UNREAD:
                    held.append(body)
                else:
                    seen = _after(terms, seen, kind, body)
                body = {}
            verdict = judge(terms, seen, None, moment)
            if verdict.asks and seen.known.access is Access.UNREAD:
                seen = seen.with_access(terms, Access.READ)
                for event in held:
                    seen = _after(terms, seen, "ADDED", event)
                verdict = judge(terms, seen, None, moment)
            yield moment, verdict, seen
            if verdict.state is not None:
                return
            seen, until = judged(seen, verdict), verdict.until
            if body or until < at:
                moments.append(min(until, at))


def _after(terms: Terms, seen: Seen, kind: str, body: Mapping[str, Any]) -> Seen:
    gone = kind == "DELETED"
    if body["kind"] == "Event":
        if body["type"] != "Warning" or gone:
            return seen
        return seen.with_warning(terms, body["metadata"]["name"], read_warning(body))
    if body["kind"] == "Pod":
        pod = read_pod(body)
        return seen.without_pod(pod.name) if gone else seen.with_pod(terms, pod)
    return replace(seen, deleted=True) if gone else replace(seen, body=body)


def course(record: Recording) -> list[str]:
    """How a trial stood, one line for each change of that: the second, the standing, the reason.

    The last line is its outcome, if it has one.
    """
    lines: list[str] = []
    last = ""
    for at, verdict, seen in verdicts(record):
        standing = f"{verdict.standing} {verdict.reason}".strip()
        if standing != last:
            lines.append(f"{max(0.0, at):.1f} {standing}")
        last = standing
        if verdict.state is not None:
            ended = outcome(verdict, judged(seen, verdict), {}, ())
            lines.append(f"{ended.state} {ended.reason}".strip())
    return lines
