"""Evaluates the conditions by which a job object has ended: GJSON, as Katib reads it.

Source: ``pkg/controller.v1beta1/trial/util/job_util.go`` in kubeflow/katib: failure is tested
before success; an object, or an array that begins with one, is a match; reason and message are
taken from the match. Where an array begins with anything else, Katib stops with an error for ever;
here that is no match.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from katibflow.errors import InputError
from katibflow.experiment.gjson_path import Path, path_of
from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.gjson_values import value_at
from katibflow.study.history import time_text

__all__ = ["Conditions", "JobEnd", "ended_at"]

_ENDS = ("completionTime", "finishedAt", "endTime")
"""Fields of a job's status with the time of its end: of most kinds, of Argo's, of Ray's."""


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
        _ = self._paths

    @cached_property
    def _paths(self) -> tuple[tuple[JobState, Path], ...]:
        """The paths with what they mean, in the order in which they are tested."""
        return (
            (JobState.FAILED, _read(self.failure)),
            (JobState.SUCCEEDED, _read(self.success)),
        )

    def end(self, job: Mapping[str, Any]) -> JobEnd | None:
        """Returns the job's end, or None while neither condition matches."""
        for state, path in self._paths:
            match = value_at(path, job)
            if isinstance(match, list) and match:
                match = match[0]
            if isinstance(match, Mapping):
                return JobEnd(state, _text(match, "reason"), _text(match, "message"))
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


def _read(expression: str) -> Path:
    try:
        return path_of(expression)
    except ValueError as error:
        raise InputError(
            f"found the condition {expression!r}: {error}; allowed: a GJSON expression over the "
            """job, as status.conditions.#(type=="Complete")#|#(status=="True")#"""
        ) from error


def _text(match: Mapping[str, Any], key: str) -> str:
    value = match.get(key)
    return "" if value is None else str(value)
