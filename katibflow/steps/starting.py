"""The `start` step: the Experiment with the run's parameters, checked, as the study to begin with.

The study is empty, or holds the trials of earlier runs that are to count in this one too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import katibflow
from katibflow.errors import InputError, RunnerError
from katibflow.experiment import timeouts
from katibflow.experiment.counts import count_faults, name_faults
from katibflow.experiment.parsing import checked
from katibflow.experiment.types import Experiment
from katibflow.steps.backends import earlier_trials
from katibflow.steps.capacity import Capacity
from katibflow.steps.files import Artifact, says_what_is_wrong, write_study
from katibflow.steps.rounds import after_rounds
from katibflow.study.history import History
from katibflow.study.resume import ALL, NONE, run_name, take_over
from katibflow.suggestion import algorithms
from katibflow.suggestion.suggester import new_seed

__all__ = [
    "ROUNDS",
    "RUN_PARAMETERS",
    "check_first_round",
    "parameters_of",
    "start",
    "with_more",
    "with_parameters",
]

ROUNDS = "rounds"
"""The layout in which trials come in rounds, one at least."""

_SOURCE = "the run's parameters"

_COUNTS = ("parallelTrialCount", "maxTrialCount", "maxFailedTrialCount")
_TIMEOUTS = {"trialTimeout": timeouts.TRIAL_TIMEOUT, "trialStartTimeout": timeouts.START_TIMEOUT}

RUN_PARAMETERS = frozenset({"name", *_COUNTS, "goal", *_TIMEOUTS, "resume"})
"""What a run can change of its Experiment."""


@says_what_is_wrong
def start(
    document: str,
    parameters: Mapping[str, str],
    layout: str,
    run: str,
    library: str,
    room: int,
    study: Artifact,
) -> None:
    """Checks the Experiment with this run's parameters as a file is checked; writes the study.

    Args:
        document: The Experiment as JSON.
        parameters: The run's parameters as texts, by name (`parameters_of`).
        layout: The pipeline's.
        run: KFP's id of the run.
        library: The mark of the library that the pipeline carries; empty if it carries none.
        room: Bytes that rounds may take in the Workflow object.
        study: Where the study goes.
    """
    _check_version(library)
    experiment = checked(
        with_parameters(json.loads(document), parameters),
        _SOURCE,
        # The rest was checked when the pipeline was compiled; its rules are not carried along.
        (name_faults, count_faults, timeouts.faults, algorithms.count_faults),
    )
    history = History(experiment, run_name(run), new_seed(experiment, run))
    resume = parameters.get("resume", NONE)
    history = take_over(_SOURCE, history, resume, earlier_trials(history))
    history = with_more(history, parameters)
    if layout == ROUNDS:
        capacity, parallel = Capacity.of(history.experiment), history.experiment.spec.parallelism
        fault = capacity.too_wide(parallel, room)
        if fault is not None:
            raise InputError(fault)
        history = replace(history, most_rounds=capacity.most_rounds(parallel, room))
        check_first_round(history)
    write_study(study.path, history)
    study.metadata["display_name"] = "study at the start"
    spec = history.experiment.spec
    print(
        f"{experiment.name}: {spec.algorithm.algorithm_name}, {spec.parallelism} trials at a time, "
        f"at most {spec.max_trial_count or 'any number of'} trials, run {history.run}"
    )
    for trial in history.trials:
        print(f"trial {trial.number}: taken over from {trial.job}, {trial.state}")


def _check_version(library: str) -> None:
    """Refuses the installed library where another version compiled the pipeline."""
    version = library.removeprefix("katibflow-").rpartition("-")[0]
    if version not in ("", katibflow.__version__):
        raise RunnerError(
            f"the pipeline was compiled by katibflow {version}, and the steps run with "
            f"{katibflow.__version__}: pip install katibflow=={version}"
        )


def check_first_round(history: History) -> None:
    """Refuses a study with which no round would have a trial.

    Raises:
        InputError: It is one.
    """
    decision = after_rounds(history, 0)
    if decision.finished:
        raise InputError(
            f"resume: found {len(history.trials)} trials of earlier runs, with which the "
            f"experiment is over before it begins ({decision.reason}: {decision.message}); "
            f"allowed: {NONE}, or a maxTrialCount (+10: ten more), maxFailedTrialCount or "
            "goal that leaves something to do"
        )


def parameters_of(experiment: Experiment) -> dict[str, str]:
    """The parameters of a run, by name, with the Experiment's values as texts.

    A number is `NONE` where the Experiment has none.
    """
    spec = experiment.spec
    timeouts = experiment.metadata.annotations
    return {
        "name": experiment.name,
        "parallelTrialCount": _text(spec.parallel_trial_count),
        "maxTrialCount": _text(spec.max_trial_count),
        "maxFailedTrialCount": _text(spec.max_failed_trial_count),
        "goal": _text(spec.objective.goal),
        **{name: timeouts.get(key, NONE) for name, key in _TIMEOUTS.items()},
        "resume": NONE if spec.resume_policy == "Never" else ALL,
    }


def with_parameters(document: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """The Experiment's document with a run's parameters in it, right or wrong.

    `NONE`, or nothing, takes a field away; a parameter that is left out changes nothing. A
    maxTrialCount of ``+10`` is 10, see `with_more`.
    """
    metadata, spec = dict(document["metadata"]), dict(document["spec"])
    objective, annotations = dict(spec["objective"]), dict(metadata.get("annotations") or {})
    places = {
        "goal": (objective, "goal"),
        **{name: (spec, name) for name in _COUNTS},
        **{name: (annotations, key) for name, key in _TIMEOUTS.items()},
    }
    for name, (fields, key) in places.items():
        text = parameters.get(name)
        if text is None:
            continue
        fields.pop(key, None)
        if text.strip().lower() not in ("", NONE):
            fields[key] = text if fields is annotations else _number(text)
    metadata["name"] = parameters.get("name", metadata["name"])
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)
    return {**document, "metadata": metadata, "spec": {**spec, "objective": objective}}


def with_more(history: History, parameters: Mapping[str, str]) -> History:
    """The study in which a maxTrialCount of ``+10`` is 10 beside the trials that it begins with.

    Args:
        history: The study with the trials of earlier runs, and `with_parameters` in its Experiment.
        parameters: The run's parameters.
    """
    experiment, most = history.experiment, history.experiment.spec.max_trial_count
    if most is None or not parameters.get("maxTrialCount", "").lstrip().startswith("+"):
        return history
    spec = experiment.spec.model_copy(update={"max_trial_count": most + len(history.trials)})
    return replace(history, experiment=experiment.model_copy(update={"spec": spec}))


def _text(value: float | None) -> str:
    return NONE if value is None else repr(value)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
