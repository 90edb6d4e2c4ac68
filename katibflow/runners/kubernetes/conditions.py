"""Evaluates the conditions by which a job object has ended: GJSON, as Katib reads it.

Source: ``pkg/controller.v1beta1/trial/util/job_util.go`` in kubeflow/katib: failure is tested
before success; an object, or an array that begins with one, is a match; reason and message are
taken from the match. Where an array begins with anything else, Katib stops with an error for ever;
here that is no match.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from katibflow.errors import InputError
from katibflow.experiment.gjson_path import Path, path_of
from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.gjson_values import value_at

__all__ = ["Conditions", "JobEnd"]


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
