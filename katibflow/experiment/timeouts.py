"""The time limits of trials, which a file gives in annotations that Katib ignores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from katibflow.errors import Fault

if TYPE_CHECKING:
    from katibflow.experiment.parsing import Parts
    from katibflow.experiment.types import Experiment

__all__ = ["START_TIMEOUT", "TRIAL_TIMEOUT", "Limits", "faults", "limits_of", "with_deadline"]

TRIAL_TIMEOUT = "katibflow/trialTimeout"
START_TIMEOUT = "katibflow/trialStartTimeout"


@dataclass(frozen=True)
class Limits:
    """The time limits of each trial.

    Attributes:
        trial: Seconds from the first moment that the trial's primary container runs to the job's
            end, anew after a preemption; None (the default) for no limit.
        start: Seconds within which every replica must start and connect; 600 by default.
    """

    trial: float | None = None
    start: float = 600.0


def limits_of(experiment: Experiment) -> Limits:
    """Returns the limits in the annotations of an Experiment without faults, or the defaults."""
    found = {key: float(text) for key, text in _texts(experiment.metadata.annotations)}
    return Limits(found.get(TRIAL_TIMEOUT), found.get(START_TIMEOUT, Limits.start))


def with_deadline(limits: Limits, manifest: Mapping[str, Any]) -> Limits:
    """Returns limits with the deadline that a job's own object has, if that is the shorter one.

    In a cluster the job's controller ends it then; on a machine there is none.

    Args:
        limits: The limits of each trial.
        manifest: The job, of a batch Job's form or with a ``runPolicy``.
    """
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping):
        return limits
    policy = spec.get("runPolicy")
    places = [spec, policy] if isinstance(policy, Mapping) else [spec]
    given = [place.get("activeDeadlineSeconds") for place in places]
    seconds = [
        float(each)
        for each in (limits.trial, *given)
        if isinstance(each, int | float) and not isinstance(each, bool) and each > 0
    ]
    return replace(limits, trial=min(seconds, default=None))


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the two annotations."""
    if parts.metadata is None:
        return
    for key, text in _texts(parts.metadata.annotations):
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            yield Fault(f"metadata.annotations[{key}]", f'"{text}"', "seconds, a number above 0")


def _texts(annotations: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key in (TRIAL_TIMEOUT, START_TIMEOUT):
        if key in annotations:
            yield key, annotations[key]
