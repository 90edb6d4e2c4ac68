"""Takes over the field by which a kind's controller deletes a job some time after its end.

A job is the record of its trial, and a controller that deletes it knows nothing of that: even a job
that is being deleted accepts the patch with the outcome, and goes with it. So a job is created
without ``ttlSecondsAfterFinished``, and gets it once its record is in a ConfigMap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from katibflow.experiment.job_kinds import JobKind

__all__ = ["drop_lifetime", "is_leaving", "lifetime_of", "lifetime_path"]


def lifetime_path(kind: JobKind) -> str:
    """Returns the field's path in a manifest, or an empty text if the kind has none."""
    return ".".join(("spec", *kind.lifetime)) if kind.lifetime else ""


def lifetime_of(kind: JobKind, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the merge patch that sets the field as a job has it, or None if it has none.

    Args:
        kind: The job's kind.
        body: The job, which stays as it is.
    """
    if not kind.lifetime:
        return None
    keys = ("spec", *kind.lifetime)
    value: Any = body
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return None
    patch: Any = value
    for key in reversed(keys):
        patch = {key: patch}
    found: dict[str, Any] = patch
    return found


def drop_lifetime(kind: JobKind, body: dict[str, Any]) -> None:
    """Takes the field out of a job that has it."""
    if lifetime_of(kind, body) is not None:
        *parents, last = ("spec", *kind.lifetime)
        for key in parents:
            body = body[key]
        del body[last]


def is_leaving(body: Mapping[str, Any]) -> bool:
    """Returns whether an object is being deleted: what is written to it goes with it."""
    return "deletionTimestamp" in body["metadata"]
