"""Finds runs of Experiments in Kubeflow Pipelines, and reads the Experiment of each.

The Experiment is in the run's pipeline, and the run's parameters change it. A run's trials are in
`records`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from katibflow.client.base import NotFound, Pipelines, Run
from katibflow.errors import InputError, NoSuchRun
from katibflow.experiment.further_runs import further_runs_of
from katibflow.experiment.types import Experiment
from katibflow.steps.next_run import goes_on_from, next_name
from katibflow.steps.run_parameters import check_texts, parameters_of, with_parameters
from katibflow.study.resume import run_name
from katibflow.validation.rules import check_document

__all__ = [
    "FIRST_LETTERS",
    "FIRST_STEPS",
    "ExperimentRun",
    "experiment_run_of",
    "experiment_runs_of",
    "find_experiment_run",
    "full_run_id",
    "latest_experiment_runs",
    "link_of",
    "next_experiment_run",
]

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FIRST_LETTERS = re.compile(r"[0-9a-f]{8}")
"""The part of an id that `list` shows, and that the jobs of a run carry."""

FIRST_STEPS = ("start", "controller")
"""The steps that check the run's parameters, one of which each layout has."""

_PARAMETERS = "the run's parameters"
_LOOKED_THROUGH = 200
"""How many of the latest runs are searched for a name, or for the first letters of an id."""


@dataclass(frozen=True)
class ExperimentRun:
    """One Experiment of a run, whose pipeline may have several.

    Attributes:
        run: The run.
        experiment: The Experiment with the run's parameters in it.
        layout: The pipeline's layout: ``rounds`` or ``controller``.
        resume: The run's parameter ``resume``: ``none``, ``all`` or a run's id.
        fault: What is wrong with the run's parameters, so that its first step refuses them; ""
            if nothing is. The Experiment is then the compiled one.
    """

    run: Run
    experiment: Experiment
    layout: str
    resume: str
    fault: str = ""


def experiment_runs_of(pipelines: Pipelines, run: Run) -> tuple[ExperimentRun, ...]:
    """Returns the Experiments of a run; none if katibflow did not compile its pipeline."""
    spec = run.spec
    if spec is None and run.version is not None:
        try:
            spec = pipelines.spec(run.version)
        except NotFound:  # somebody has deleted the pipeline
            return ()
    inner = (spec or {}).get("pipeline_spec", spec)
    if not isinstance(inner, Mapping) or not {"root", "components"} <= inner.keys():
        return ()
    given = {name: str(value) for name, value in run.parameters.items()}
    found = _start_inputs(inner, inner["root"], given, frozenset())
    return tuple(
        experiment_run
        for each in found
        if (experiment_run := experiment_run_of(run, each)) is not None
    )


def experiment_run_of(run: Run, inputs: Mapping[str, str]) -> ExperimentRun | None:
    """Returns the Experiment of a run, or None if it is none that this release can read.

    Args:
        run: The run.
        inputs: The Experiment as JSON, its layout and the run's parameters, by the names that they
            have as inputs of the run's first step.
    """
    try:
        document = json.loads(inputs["experiment"])
        compiled = Experiment.model_validate(document)
    except (ValidationError, ValueError):
        return None
    defaults = parameters_of(compiled)
    given = {name: value for name, value in inputs.items() if name in defaults}
    fault = _fault_of(document, {**defaults, **given}) if run.parameters else ""
    experiment = compiled
    if not fault:
        try:
            experiment = Experiment.model_validate(with_parameters(document, given))
        except ValidationError:  # compiled by a release with other rules
            experiment = compiled
    resume = given.get("resume") or defaults["resume"]
    return ExperimentRun(run, experiment, inputs["layout"], resume, fault)


def _fault_of(document: Mapping[str, Any], given: Mapping[str, str]) -> str:
    """Returns what the parameters make wrong in an Experiment that is right without them."""
    try:
        check_document(document, _PARAMETERS)
    except InputError:
        return ""
    try:
        check_texts(given)
        check_document(with_parameters(document, given), _PARAMETERS)
    except InputError as error:
        return str(error)
    return ""


def _start_inputs(
    spec: Mapping[str, Any],
    component: Mapping[str, Any],
    given: Mapping[str, str],
    seen: frozenset[str],
) -> Iterator[dict[str, str]]:
    """Yields the inputs of each task `start` below a component, as far as the spec tells them.

    Args:
        spec: The pipeline's spec.
        component: The component to search: a DAG.
        given: The DAG's parameters, by name.
        seen: Names of the components around this one: a round contains itself.
    """
    definitions = component.get("inputDefinitions", {}).get("parameters", {})
    defaults = {
        name: str(each["defaultValue"])
        for name, each in definitions.items()
        if "defaultValue" in each
    }
    known = {**defaults, **given}
    for key, task in component.get("dag", {}).get("tasks", {}).items():
        inputs: dict[str, str] = {}
        for name, value in task.get("inputs", {}).get("parameters", {}).items():
            if "constant" in value.get("runtimeValue", {}):
                inputs[name] = str(value["runtimeValue"]["constant"])
            elif value.get("componentInputParameter") in known:
                inputs[name] = known[value["componentInputParameter"]]
        if key in FIRST_STEPS and {"experiment", "layout"} <= inputs.keys():
            yield inputs
        name = task["componentRef"]["name"]
        if name not in seen:
            yield from _start_inputs(spec, spec["components"].get(name, {}), inputs, seen | {name})


def latest_experiment_runs(pipelines: Pipelines, limit: int) -> Iterator[ExperimentRun]:
    """Yields the Experiments of the latest runs, the newest first, from at most ``limit`` runs."""
    for run in pipelines.runs(limit):
        yield from experiment_runs_of(pipelines, run)


def find_experiment_run(pipelines: Pipelines, wanted: str) -> ExperimentRun:
    """Returns the one Experiment of a run that a user means.

    Args:
        pipelines: The installation that has the run.
        wanted: The run's id, its first letters, or the run's name; for a pipeline with several
            Experiments a slash and the Experiment's name follow.

    Raises:
        NoSuchRun: No run matches.
        InputError: Several runs match, or katibflow did not compile the pipeline.
        RunnerError: The server refuses.
    """
    which, _, name = wanted.partition("/")
    run = _find_run(pipelines, which)
    experiment_runs = experiment_runs_of(pipelines, run)
    if not experiment_runs:
        raise InputError(f"RUN: {run.name} ({run.run_id}) is no run of a pipeline of katibflow's")
    chosen = [
        experiment_run
        for experiment_run in experiment_runs
        if name in ("", experiment_run.experiment.name)
    ]
    if len(chosen) != 1:
        names = ", ".join(
            f"{which}/{experiment_run.experiment.name}" for experiment_run in experiment_runs
        )
        raise InputError(f'RUN: found "{wanted}"; allowed: {names}')
    return chosen[0]


def next_experiment_run(
    pipelines: Pipelines, experiment_run: ExperimentRun
) -> ExperimentRun | None:
    """Returns the run that goes on by itself with the study of one that succeeded, if there is one.

    Raises:
        RunnerError: The server refuses.
    """
    run = experiment_run.run
    if not further_runs_of(experiment_run.experiment):
        return None
    name, own = next_name(run.name), run_name(run.run_id)
    for each in pipelines.runs(_LOOKED_THROUGH):
        if each.name == name and goes_on_from(each.parameters, own):
            return next(iter(experiment_runs_of(pipelines, each)), None)
    return None


def full_run_id(pipelines: Pipelines, text: str) -> str:
    """Returns the whole id of the one run whose id begins with the text, or else the text.

    `list` prints only the first letters of an id. A text that fits no run may be the shorter id
    that a run's jobs carry.
    """
    found = [
        run.run_id
        for run in (pipelines.runs(_LOOKED_THROUGH) if FIRST_LETTERS.fullmatch(text) else ())
        if run.run_id.startswith(text)
    ]
    return found[0] if len(found) == 1 else text


def link_of(pipelines: Pipelines, run: Run) -> str:
    """Returns the address of a run's page in the UI, or its id if the address is not known."""
    return pipelines.link(f"runs/details/{run.run_id}") or run.run_id


def _find_run(pipelines: Pipelines, wanted: str) -> Run:
    runs = () if _ID.fullmatch(wanted) else pipelines.runs(_LOOKED_THROUGH)
    found = [run for run in runs if run.name == wanted]
    found = found or [run for run in runs if run.run_id.startswith(wanted.lower()) and wanted]
    if len(found) > 1:
        several = ", ".join(f"{run.run_id} ({run.name})" for run in found[:5])
        raise InputError(
            f'RUN: found "{wanted}", which are {len(found)} runs: {several}; allowed: one run\'s id'
        )
    try:
        return pipelines.run(found[0].run_id if found else wanted)
    except NotFound:
        raise NoSuchRun(
            f'RUN: found "{wanted}"; allowed: a run\'s id, its first letters or its name, as '
            "`katibflow list` shows them"
        ) from None
