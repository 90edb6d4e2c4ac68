"""The `start` step: the Experiment with the run's parameters, checked, as an empty study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from katibflow import algorithms, limits
from katibflow.counts import count_faults, name_faults
from katibflow.history import History
from katibflow.loading import checked
from katibflow.steps.files import says_what_is_wrong, write_study
from katibflow.steps.limits import check_rounds
from katibflow.suggest import new_seed

__all__ = ["NONE", "parameter_text", "run_name", "start", "with_parameters"]

NONE = "none"
"""Text of a parameter that the Experiment shall not have."""

_SOURCE = "the run's parameters"


@says_what_is_wrong
def start(
    document: str,
    name: str,
    parallel_trial_count: str,
    max_trial_count: str,
    max_failed_trial_count: str,
    goal: str,
    run: str,
    study_path: str,
) -> None:
    """Checks the Experiment with this run's parameters as a file is checked; writes the study.

    Args:
        document: The Experiment as JSON.
        name: Replaces ``metadata.name``.
        parallel_trial_count: Replaces ``spec.parallelTrialCount``; this and the following are
            numbers as text, or "none" (or nothing) for an Experiment without the field.
        max_trial_count: Replaces ``spec.maxTrialCount``.
        max_failed_trial_count: Replaces ``spec.maxFailedTrialCount``.
        goal: Replaces ``spec.objective.goal``.
        run: KFP's id of the run.
        study_path: Where the study goes.
    """
    experiment = checked(
        with_parameters(
            json.loads(document),
            name,
            {
                "parallelTrialCount": parallel_trial_count,
                "maxTrialCount": max_trial_count,
                "maxFailedTrialCount": max_failed_trial_count,
            },
            goal,
        ),
        _SOURCE,
        # The rest was checked when the pipeline was compiled; its rules are not carried along.
        (name_faults, count_faults, limits.faults, algorithms.count_faults),
    )
    check_rounds(experiment)
    history = History(experiment, run_name(run), new_seed(experiment, run))
    write_study(study_path, history)
    spec = experiment.spec
    print(
        f"{experiment.name}: {spec.algorithm.algorithm_name}, {spec.parallelism} trials at a time, "
        f"at most {spec.max_trial_count or 'any number of'} trials, run {history.run}"
    )


def run_name(run: str) -> str:
    """The short id of a run, 8 hexadecimal characters, from KFP's id of it."""
    return hashlib.sha256(run.encode()).hexdigest()[:8]


def with_parameters(
    document: Mapping[str, Any], name: str, counts: Mapping[str, str], goal: str
) -> dict[str, Any]:
    """The Experiment's document with the run's parameters in it, right or wrong."""
    spec = dict(document["spec"])
    objective = dict(spec["objective"])
    for fields, key, text in (
        *((spec, key, text) for key, text in counts.items()),
        (objective, "goal", goal),
    ):
        fields.pop(key, None)
        if text.strip().lower() not in ("", NONE):
            fields[key] = _number(text)
    return {
        **document,
        "metadata": {**document["metadata"], "name": name},
        "spec": {**spec, "objective": objective},
    }


def parameter_text(value: float | None) -> str:
    """A field of the Experiment as the text of its run parameter."""
    return NONE if value is None else repr(value)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
