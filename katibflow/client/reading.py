"""What a run is about: the Experiment is in its pipeline, and its parameters change it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from katibflow.client.base import NotThere, Pipelines, Run
from katibflow.compiler.ir import dag_tasks
from katibflow.errors import InputError
from katibflow.experiment import Experiment
from katibflow.steps.starting import parameters_of, with_parameters

__all__ = ["Sweep", "find_sweep", "latest_sweeps", "sweep_of"]

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOOKED_THROUGH = 200
"""Runs among which one is found by its name or the first letters of its id."""


@dataclass(frozen=True)
class Sweep:
    """A run of a pipeline that katibflow compiled.

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


def sweep_of(pipelines: Pipelines, run: Run) -> Sweep | None:
    """What a run is about; None if katibflow did not compile its pipeline."""
    spec = run.spec
    if spec is None and run.version is not None:
        try:
            spec = pipelines.spec(run.version)
        except NotThere:  # the pipeline was deleted since
            return None
    told = next(_told_to_start(spec or {}), None)
    if told is None:
        return None
    parameters = {name: str(value) for name, value in run.parameters.items()}
    try:
        document = json.loads(told["experiment"])
        compiled = Experiment.model_validate(document)
    except (ValidationError, ValueError):
        return None
    try:
        experiment = Experiment.model_validate(with_parameters(document, parameters))
    except ValidationError:  # then its first step says what is wrong
        experiment = compiled
    resume = parameters.get("resume") or parameters_of(compiled)["resume"]
    return Sweep(run, experiment, str(told.get("layout", "")), resume)


def _told_to_start(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The constants that the task `start` of a compiled pipeline gets."""
    inner = spec.get("pipeline_spec", spec)
    if not isinstance(inner, Mapping) or not {"root", "components"} <= inner.keys():
        return
    for key, task in dag_tasks(inner):
        if key == "start":
            given = task.get("inputs", {}).get("parameters", {})
            told = {
                name: value["runtimeValue"]["constant"]
                for name, value in given.items()
                if "constant" in value.get("runtimeValue", {})
            }
            if "experiment" in told:
                yield told


def latest_sweeps(pipelines: Pipelines, limit: int) -> Iterator[Sweep]:
    """The latest runs of katibflow's pipelines, newest first, among at most ``limit`` runs."""
    for run in pipelines.runs(limit):
        sweep = sweep_of(pipelines, run)
        if sweep is not None:
            yield sweep


def find_sweep(pipelines: Pipelines, wanted: str) -> Sweep:
    """The run that a user means.

    Args:
        pipelines: Where.
        wanted: Its id, the first letters of it, or its name.

    Raises:
        InputError: There is none, there are several, or katibflow did not compile its pipeline.
        RunnerError: The server refuses.
    """
    runs = () if _ID.fullmatch(wanted) else pipelines.runs(_LOOKED_THROUGH)
    found = [run for run in runs if run.name == wanted]
    found = found or [run for run in runs if run.run_id.startswith(wanted.lower()) and wanted]
    if len(found) > 1:
        several = ", ".join(f"{run.run_id} ({run.name})" for run in found[:5])
        raise InputError(
            f'RUN: found "{wanted}", which are {len(found)} runs: {several}; allowed: one run\'s id'
        )
    try:
        run = pipelines.run(found[0].run_id if found else wanted)
    except NotThere:
        raise InputError(
            f'RUN: found "{wanted}"; allowed: a run\'s id, its first letters or its name, as '
            "`katibflow list` shows them"
        ) from None
    sweep = sweep_of(pipelines, run)
    if sweep is None:
        raise InputError(f"RUN: {run.name} ({run.run_id}) is no run of a pipeline of katibflow's")
    return sweep
