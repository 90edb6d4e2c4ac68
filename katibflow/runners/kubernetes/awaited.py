"""Finds what a trial waits for: pods that are not there, and pods that do not end."""

from __future__ import annotations

from dataclasses import replace

from katibflow.runners.kubernetes.causes import Prospect
from katibflow.runners.kubernetes.pods import Finding, held_open
from katibflow.runners.kubernetes.seen import Seen, Terms, primaries

__all__ = ["holder_of", "missing_pods"]


def missing_pods(terms: Terms, seen: Seen) -> str:
    """Returns the pods that the job lacks, in words; empty if it lacks none."""
    expected, kind = terms.shape.expected, terms.kind
    missing = expected - len(seen.pods)
    if missing > 0 and not seen.complete:
        return (
            f"{missing} of {expected} pods are not there; the controller of {kind.kind} is not "
            "running, or a quota is used up"
        )
    if kind.has_stages or seen.begun or any(terms.does_work(pod) for pod in seen.pods.values()):
        return ""
    status = (seen.body or {}).get("status") or {}
    if kind.working and all(status.get(key) == value for key, value in kind.working.items()):
        return ""
    present = ", ".join(pod.name for pod in seen.pods.values() if not pod.deleting)
    marks = [f"label {key}={value}" for key, value in (terms.labels or {}).items()]
    marks += [f"container {terms.primary}"] if terms.primary else []
    return (
        f"the pod that does the trial's work is not there ({', '.join(marks)}); "
        f"the pods of {terms.name} are {present or 'gone'}"
    )


def holder_of(terms: Terms, seen: Seen) -> Finding | None:
    """Returns a pod that only a sidecar keeps alive.

    It ends the trial if all of the trial's work is done. A pod that has to end before that work
    starts only delays it.
    """
    kind, pods = terms.kind, list(seen.pods.values())
    if kind.replica_specs or kind.pod_template:
        return held_open(pods, terms.primary, terms.shape.expected)
    if kind.has_stages:
        return None
    working = primaries(terms, seen)
    if working or seen.begun:
        return held_open(working, terms.primary, 1)
    holders = (held_open([pod], None, 1) for pod in pods)
    found = next((holder for holder in holders if holder), None)
    return replace(found, prospect=Prospect.WAITING) if found else None
