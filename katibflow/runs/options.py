"""What the user says of a run on this machine, beside the Experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from katibflow.experiment.timeouts import Limits, limits_of
from katibflow.experiment.types import Experiment
from katibflow.runners.backends import DEFAULT

__all__ = ["Options", "limits_for"]


@dataclass(frozen=True)
class Options:
    """The options of a run.

    Attributes:
        source: Where the Experiment comes from, for errors.
        on: Where trials run, a key of `runners.backends.BACKENDS`.
        of_backend: Options of that backend, by name; None where one was not given.
        trial_timeout: Seconds a trial may take; by default the Experiment's, or else no limit.
        trial_start_timeout: Seconds within which its replicas must have started and connected;
            by default the Experiment's, or else 600.
        drain: Whether to let running trials finish when the experiment is over.
        storage: Where an Optuna study mirrors the run: a URL, or a journal's file.
    """

    source: str
    on: str = DEFAULT
    of_backend: Mapping[str, Any] = field(default_factory=dict)
    trial_timeout: float | None = None
    trial_start_timeout: float | None = None
    drain: bool = False
    storage: str | None = None


def limits_for(experiment: Experiment, options: Options) -> Limits:
    """Returns how long trials may take: as the options say, or else as the Experiment does."""
    limits = limits_of(experiment)
    return replace(
        limits,
        trial=options.trial_timeout or limits.trial,
        start=options.trial_start_timeout or limits.start,
    )
