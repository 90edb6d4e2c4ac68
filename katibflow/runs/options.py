"""The options of a run on this machine, which the user gives beside the Experiment.

The options of a run in Kubeflow Pipelines are in `steps.run_parameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from katibflow.errors import InputError
from katibflow.experiment.timeouts import Limits, limits_of
from katibflow.experiment.types import Experiment
from katibflow.runners.backends import DEFAULT

__all__ = ["Options", "limits_for"]


@dataclass(frozen=True)
class Options:
    """The options of a run.

    Attributes:
        source: The name of the Experiment's origin in errors.
        on: The backend that runs the trials, a key of `runners.backends.BACKENDS`.
        of_backend: Name to value of that backend's options; None for an option without a value.
        trial_timeout: Seconds that a trial may take; by default as in the Experiment's annotation,
            or else without a limit.
        trial_start_timeout: Seconds within which the trial's replicas must start and connect; by
            default as in the Experiment's annotation, or else 600.
        drain: Whether running trials may finish when the experiment is over; False by default.
        storage: The Optuna storage that gets a copy of the run: a URL, or a journal's file; None
            for no copy.
        track: The tracker that the run is written to, as ``mlflow:http://host:5000``; by default as
            in the Experiment's annotation, or else none.
        warm_start: The folder or history file of an earlier run of the same search space, from
            whose trials the sampler learns; None for none.
        fresh: Whether to begin anew; the folder of an earlier run of this name is renamed then.
        keep: Whether trials of an Experiment, or of programs, that have changed since still count.

    Raises:
        InputError: Both ``fresh`` and ``keep`` are True.
    """

    source: str
    on: str = DEFAULT
    of_backend: Mapping[str, Any] = field(default_factory=dict)
    trial_timeout: float | None = None
    trial_start_timeout: float | None = None
    drain: bool = False
    storage: str | None = None
    track: str | None = None
    warm_start: Path | None = None
    fresh: bool = False
    keep: bool = False

    def __post_init__(self) -> None:
        if self.fresh and self.keep:
            raise InputError(
                "--fresh and --keep (fresh=True, keep=True): found both; allowed: one of them, as "
                "a run that begins anew has no earlier trials to keep"
            )


def limits_for(experiment: Experiment, options: Options) -> Limits:
    """Returns the time limits of trials, from the options or else from the Experiment."""
    limits = limits_of(experiment)
    return replace(
        limits,
        trial=options.trial_timeout or limits.trial,
        start=options.trial_start_timeout or limits.start,
    )
