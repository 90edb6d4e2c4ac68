"""Finds what hinders the running trials of a run, from one look at their jobs and pods.

The words are those of the step that runs the trials: both take them from `verdict`. Nothing is
watched, and nothing is ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from katibflow.experiment.job_kinds import JobKind, kind_of
from katibflow.experiment.timeouts import Limits
from katibflow.experiment.types import TrialTemplate
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.conditions import Conditions
from katibflow.runners.kubernetes.inbox import FOREVER
from katibflow.runners.kubernetes.job_object import STATE, TRIAL, Identity, Shape, created_at
from katibflow.runners.kubernetes.pods import Pod, read_pod
from katibflow.runners.kubernetes.seen import Seen, Terms
from katibflow.runners.kubernetes.verdict import Standing, judge

__all__ = ["Hindrance", "hindrances"]

_QUIET = (Standing.UNSEEN, Standing.STARTING, Standing.RUNNING, Standing.PODLESS)


@dataclass(frozen=True)
class Hindrance:
    """What hinders a trial.

    Attributes:
        text: The hindrance in words.
        topic: Two hindrances of one trial with the same topic are the same one, whose reasons take
            turns; None if the words alone tell.
    """

    text: str
    topic: tuple[str, str, str] | None = None


def hindrances(
    api: Api, identity: Identity, template: TrialTemplate, now: datetime
) -> Mapping[int, Hindrance]:
    """Returns trial number to what hinders the trial, in the words of who knows.

    Args:
        api: Requests in the namespace.
        identity: The namespace, experiment and run of the trials.
        template: The Experiment's trialTemplate.
        now: The present time, with a time zone.

    Raises:
        ApiError: The server refuses.
        RunnerError: The server is out of reach.
    """
    kind = kind_of(template.trial_spec or {})
    success = template.success_condition or kind.success_condition or ""
    failure = template.failure_condition or kind.failure_condition or ""
    conditions = Conditions(success, failure)
    selector = ",".join(f"{key}={value}" for key, value in identity.labels.items())
    pods = list(_pods(api, kind, selector))
    found = {}
    path = api.path(kind.api_version, kind.plural)
    for body in _items(api, path, f"{selector},!{STATE}"):
        number = body["metadata"]["labels"].get(TRIAL, "")
        if number.isdecimal():
            terms = Terms(
                name=body["metadata"]["name"],
                kind=kind,
                shape=Shape.of({**body, "apiVersion": kind.api_version, "kind": kind.kind}),
                conditions=conditions,
                labels=template.primary_pod_labels or kind.primary_pod_labels or {},
                primary=template.primary_container_name,
                limits=Limits(start=FOREVER),  # who runs the trial ends it
                timing=api.timing,
                created=created_at(body).timestamp(),
            )
            seen = Seen(body)
            for pod in pods:
                if _owner(kind, pod) in (number, terms.name):
                    seen = seen.with_pod(terms, pod)
            hindrance = _hindrance(terms, seen, now.timestamp())
            if hindrance is not None:
                found[int(number)] = hindrance
    return found


def _hindrance(terms: Terms, seen: Seen, now: float) -> Hindrance | None:
    keys = judge(terms, seen, None, now).since
    # When a problem began is not known from one look; a job's problems begin at its creation.
    verdict = judge(terms, replace(seen, since=dict.fromkeys(keys, terms.created)), None, now)
    if verdict.cause is None or verdict.standing in _QUIET:
        return None
    cause = verdict.cause
    topic = (cause.pod, cause.container, cause.topic) if cause.topic else None
    return Hindrance(str(cause), topic)


def _pods(api: Api, kind: JobKind, selector: str) -> Iterator[Pod]:
    path = api.path("v1", "pods")
    selectors = [selector, *([kind.name_label] if kind.name_label else [])]
    known = {
        body["metadata"]["name"]: body for each in selectors for body in _items(api, path, each)
    }
    return map(read_pod, known.values())


def _owner(kind: JobKind, pod: Pod) -> str:
    """Returns the number of a pod's trial, or the name of its job."""
    name = pod.labels.get(kind.name_label, "") if kind.name_label else ""
    return pod.labels.get(TRIAL) or name


def _items(api: Api, path: str, selector: str) -> Iterator[dict[str, Any]]:
    for page in api.pages(path, {"labelSelector": selector}):
        yield from page.get("items") or ()
