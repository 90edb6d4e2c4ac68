"""Lists what an Experiment without faults does here and does not, or not so, in Katib.

Faults of an Experiment are found in `validation.rules`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from katibflow.early_stopping import stopping_of
from katibflow.errors import InvalidExperiment
from katibflow.experiment.types import DEFAULT_PARALLEL_TRIAL_COUNT, Experiment
from katibflow.runners.kubernetes.checkpoints import check_checkpoints
from katibflow.study.objectives import is_several
from katibflow.suggestion import algorithms
from katibflow.suggestion.space.search_space import lowest

__all__ = ["katib_differences_of"]

_META = re.compile(r"\$\{trialSpec\.[^}]*\}")


def katib_differences_of(experiment: Experiment) -> tuple[str, ...]:
    """Returns the differences from Katib that matter to an Experiment, one sentence each.

    Args:
        experiment: An Experiment without faults; its template may be in a ConfigMap.
    """
    return (*_refusals(experiment), *_differences(experiment))


def _refusals(experiment: Experiment) -> Iterator[str]:
    """Yields the extensions that the Experiment uses: Katib refuses or ignores each of them."""
    spec = experiment.spec
    if not algorithms.algorithm_of(spec.algorithm).is_katibs:
        yield f"algorithm {spec.algorithm.algorithm_name}: an extension, Katib refuses it"
    stopping = stopping_of(spec)
    if spec.early_stopping is not None and stopping is not None and not stopping.is_katibs:
        name = spec.early_stopping.algorithm_name
        yield f"earlyStopping {name}: an extension, Katib refuses it"
    if is_several(spec.objective):
        metrics = ", ".join(aim.metric for aim in spec.objective.aims[1:])
        yield f"objective.goals ({metrics}): an extension, Katib ignores it and has one objective"
    if spec.objective.constraints:
        yield "objective.constraints: an extension, Katib ignores it"
    conditional = [parameter.name for parameter in spec.parameters if parameter.when is not None]
    if conditional:
        yield (
            f"when of {', '.join(conditional)}: an extension, Katib ignores it and gives every "
            "trial every parameter"
        )
    if any(parameter.parameter_type is None for parameter in spec.parameters):
        yield "a parameter without parameterType: its list tells the type; Katib refuses it"
    most, default = spec.max_trial_count, DEFAULT_PARALLEL_TRIAL_COUNT
    if spec.parallel_trial_count is None and most is not None and most < default:
        yield (
            f"parallelTrialCount is left out: {most}, as maxTrialCount; Katib takes {default} and "
            "refuses it"
        )


def _differences(experiment: Experiment) -> Iterator[str]:
    """Yields the fields of the Experiment that Katib understands in another way."""
    spec = experiment.spec
    note = algorithms.note_on(spec.algorithm)
    if note:
        yield note
    yield from algorithms.notes_on(spec)
    yield from _space_notes(experiment)
    stopping = spec.early_stopping
    if stopping is not None and stopping.algorithm_name == "medianstop":
        yield (
            "earlyStopping medianstop: compares with the median, at each report; Katib compares "
            "with the mean, at one report"
        )
    if spec.objective.goal is not None:
        yield (
            "objective.goal: running trials are stopped when it is met, or with --drain let go on "
            "as in Katib"
        )
    if spec.resume_policy != "Never":
        yield (
            f"resumePolicy {spec.resume_policy}: a compiled pipeline takes over the trials of "
            "earlier runs (its parameter resume); katibflow run goes on whatever the policy is"
        )
    template = spec.trial_template
    if template.trial_spec is None:
        yield "trialTemplate.configMap: the template itself is not checked without --config-map"
        return
    if any(_META.search(text) for text in _texts(template.trial_spec)):
        yield (
            "trialTemplate.trialSpec: a ${trialSpec...} in it is replaced; Katib replaces it only "
            "as the reference of a trialParameter"
        )
    try:
        check_checkpoints(experiment)
    except InvalidExperiment:
        yield (
            "algorithm pbt: on Kubernetes each pod needs a persistent volume mounted at "
            "suggestion_trial_dir, which Katib makes itself; on this machine nothing"
        )


def _space_notes(experiment: Experiment) -> Iterator[str]:
    for parameter in experiment.spec.parameters:
        given, low = parameter.feasible_space.min, lowest(parameter)
        if given is not None and low is not None and float(given) != float(low):
            yield (
                f"parameter {parameter.name}: logUniform begins at {low}, not at min, {given}, as "
                "in Katib's Optuna service"
            )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
