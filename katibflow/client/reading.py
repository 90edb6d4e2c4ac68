"""What a run is about: Experiments are in its pipeline, and its parameters change them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from katibflow.client.base import NotThere, Pipelines, Run
from katibflow.errors import InputError
from katibflow.experiment.types import Experiment
from katibflow.steps.run_parameters import parameters_of, with_parameters

__all__ = ["Sweep", "find_sweep", "full_run_id", "latest_sweeps", "link_of", "sweeps_of"]

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PART = re.compile(r"[0-9a-f]{8}")
_FIRST = "start"
_LOOKED_THROUGH = 200
"""Runs among which one is found by its name or the first letters of its id."""


@dataclass(frozen=True)
class Sweep:
    """An Experiment in a run: all of the run's pipeline, or a part of it.

    Attributes:
        run: The run.
        experiment: The Experiment with the run's parameters in it.
        layout: The pipeline's.
        resume: The run's parameter of that name.
    """

    run: Run
    experiment: Experiment
    layout: str
    resume: str


def sweeps_of(pipelines: Pipelines, run: Run) -> tuple[Sweep, ...]:
    """What a run is about: several in a pipeline with several; none if katibflow has no part."""
    spec = run.spec
    if spec is None and run.version is not None:
        try:
            spec = pipelines.spec(run.version)
        except NotThere:  # the pipeline was deleted since
            return ()
    inner = (spec or {}).get("pipeline_spec", spec)
    if not isinstance(inner, Mapping) or not {"root", "components"} <= inner.keys():
        return ()
    given = {name: str(value) for name, value in run.parameters.items()}
    told = _told(inner, inner["root"], given, frozenset())
    return tuple(sweep for each in told if (sweep := _sweep(run, each)) is not None)


def _sweep(run: Run, told: Mapping[str, str]) -> Sweep | None:
    try:
        document = json.loads(told["experiment"])
        compiled = Experiment.model_validate(document)
    except (ValidationError, ValueError):
        return None
    defaults = parameters_of(compiled)
    given = {name: value for name, value in told.items() if name in defaults}
    try:
        experiment = Experiment.model_validate(with_parameters(document, given))
    except ValidationError:  # then its first step says what is wrong
        experiment = compiled
    resume = given.get("resume") or defaults["resume"]
    return Sweep(run, experiment, told["layout"], resume)


def _told(
    spec: Mapping[str, Any],
    component: Mapping[str, Any],
    given: Mapping[str, str],
    seen: frozenset[str],
) -> Iterator[dict[str, str]]:
    """What each task `start` below a component is given, as far as it is known before a run.

    Args:
        spec: The pipeline's.
        component: A DAG.
        given: Its parameters.
        seen: Names of the components that it is in; a round is in itself.
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
        if key == _FIRST and {"experiment", "layout"} <= inputs.keys():
            yield inputs
        name = task["componentRef"]["name"]
        if name not in seen:
            yield from _told(spec, spec["components"].get(name, {}), inputs, seen | {name})


def latest_sweeps(pipelines: Pipelines, limit: int) -> Iterator[Sweep]:
    """What the latest runs are about, the newest first, among at most ``limit`` runs."""
    for run in pipelines.runs(limit):
        yield from sweeps_of(pipelines, run)


def find_sweep(pipelines: Pipelines, wanted: str) -> Sweep:
    """The run that a user means.

    Args:
        pipelines: Where.
        wanted: Its id, the first letters of it, or its name; behind a slash, of a pipeline with
            several, the Experiment's name.

    Raises:
        InputError: There is none, there are several, or katibflow did not compile its pipeline.
        RunnerError: The server refuses.
    """
    which, _, name = wanted.partition("/")
    run = _find_run(pipelines, which)
    sweeps = sweeps_of(pipelines, run)
    if not sweeps:
        raise InputError(f"RUN: {run.name} ({run.run_id}) is no run of a pipeline of katibflow's")
    chosen = [sweep for sweep in sweeps if name in ("", sweep.experiment.name)]
    if len(chosen) != 1:
        names = ", ".join(f"{which}/{sweep.experiment.name}" for sweep in sweeps)
        raise InputError(f'RUN: found "{wanted}"; allowed: {names}')
    return chosen[0]


def full_run_id(pipelines: Pipelines, text: str) -> str:
    """KFP's whole id of the one run whose id begins so; else the text, which may mean another.

    `list` and `show` print the first letters of an id, and a run's jobs carry a name of their own.
    """
    found = [
        run.run_id
        for run in (pipelines.runs(_LOOKED_THROUGH) if _PART.fullmatch(text) else ())
        if run.run_id.startswith(text)
    ]
    return found[0] if len(found) == 1 else text


def link_of(pipelines: Pipelines, run: Run) -> str:
    """Returns a run's page in the UI, or else its id."""
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
    except NotThere:
        raise InputError(
            f'RUN: found "{wanted}"; allowed: a run\'s id, its first letters or its name, as '
            "`katibflow list` shows them"
        ) from None
