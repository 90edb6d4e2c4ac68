"""Evaluates the conditions by which a job object has ended: GJSON, as Katib reads it.

Source: ``pkg/controller.v1beta1/trial/util/job_util.go`` in kubeflow/katib: failure is tested
before success; an object, or an array with something in it, is a match; reason and message are
taken from the match.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from katibflow.errors import InputError
from katibflow.runners.base import JobState
from katibflow.study.history import time_text

__all__ = ["Conditions", "JobEnd", "ended_at"]

_ENDS = ("completionTime", "finishedAt", "endTime")
"""Fields of a job's status with the time of its end: of most kinds, of Argo's, of Ray's."""


# gjson's messages for a path without a value (yet); all its other messages are about the
# expression. gjson has no code or type for the difference, so the messages are compared; a test
# provokes each of them.
_ABSENT = re.compile(
    r"Mapping object does not have|Query for first element does not match|No key matching"
    r"|Queries are supported only for seq|Index .* out of range|Expected a sequence like object"
    r"|Wildcard matching key .* requires|Integer query part"
)


@dataclass(frozen=True)
class JobEnd:
    """The end of a job, as its own status says."""

    state: JobState
    reason: str
    message: str


@dataclass(frozen=True)
class Conditions:
    """The success and failure conditions of a kind of job.

    Attributes:
        success: GJSON expression over the job object.
        failure: The same for failure.

    Raises:
        InputError: A condition is no GJSON.
    """

    success: str
    failure: str

    def __post_init__(self) -> None:
        for expression in (self.success, self.failure):
            _match({}, expression)

    def end(self, job: Mapping[str, Any]) -> JobEnd | None:
        """Returns the job's end, or None while neither condition matches.

        Raises:
            InputError: A condition is no GJSON.
        """
        for state, expression in (
            (JobState.FAILED, self.failure),
            (JobState.SUCCEEDED, self.success),
        ):
            match = _match(job, expression)
            if match is not None:
                return JobEnd(state, str(match.get("reason", "")), str(match.get("message", "")))
        return None


def ended_at(job: Mapping[str, Any]) -> str | None:
    """Returns the time at which a job that has ended did so, or None if its status lacks it.

    A job that failed may have no time but that of its conditions.
    """
    status = job.get("status") or {}
    times = [status[field] for field in _ENDS if status.get(field)]
    if not times:
        met = (each for each in status.get("conditions") or () if each.get("status") == "True")
        times = [each["lastTransitionTime"] for each in met if each.get("lastTransitionTime")]
    try:
        return max((time_text(datetime.fromisoformat(time)) for time in times), default=None)
    except (TypeError, ValueError):
        return None


def _match(job: Mapping[str, Any], expression: str) -> Mapping[str, Any] | None:
    import gjson

    try:
        value = gjson.get(job, expression)
    except gjson.GJSONError as error:
        if _ABSENT.match(str(error)):
            return None
        found = str(error).splitlines()[0]
        raise InputError(
            f"found the condition {expression!r}: {found}; allowed: a GJSON expression over the "
            """job, as status.conditions.#(type=="Complete")#|#(status=="True")#"""
        ) from error
    if isinstance(value, list) and value:
        value = value[0] if isinstance(value[0], Mapping) else {}
    return value if isinstance(value, Mapping) else None
