"""Makes an Experiment one task of a user's pipeline, and checks that the pipeline can hold it.

KFP accepts a compiled pipeline as a component and keeps its recursion, exit handler, retries and
pod annotations. KFP's backend makes an exit handler a hook of the DAG that contains it, so it works
at any depth.

Source: ``build_exit_handler_groups_recursively`` in KFP's ``compiler/pipeline_spec_builder.py``,
``DAG`` in its backend's ``argocompiler/dag.go``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any

from katibflow.compiler.emit import compile_experiment
from katibflow.compiler.layouts import AUTO, MAX_PARTS
from katibflow.errors import InputError
from katibflow.experiment.types import Experiment
from katibflow.extras import require
from katibflow.steps.run_parameters import (
    check_texts,
    checked_with,
    parameters_for_start,
    run_parameters,
)
from katibflow.study.objectives import is_several
from katibflow.validation.rules import check_document

__all__ = ["embed"]

_PLACEHOLDER = "{{"
"""Occurs in each text in which KFP replaces something when the pipeline runs."""

_OF_THE_RUN = re.compile(r"\{\{\$\.\w+\}\}")
"""Matches a text that is one placeholder of KFP, as ``dsl.PIPELINE_JOB_NAME_PLACEHOLDER``."""

_TEXT_TYPES = ("str", "string", "text")


def embed(
    experiment: Experiment,
    given: Mapping[str, Any],
    *,
    image: str | None = None,
    package: str | None = None,
    layout: str = AUTO,
) -> Any:
    """Returns the task of a whole experiment in the pipeline that is being traced.

    Args:
        experiment: A checked Experiment.
        given: The run's parameters that differ from the Experiment's values, by name
            (`steps.run_parameters`): values, which are checked here, or outputs and parameters of
            the pipeline, which the step `start` checks.
        image: Image for all steps; see `compile_experiment`.
        package: Release to install in each step; see `compile_experiment`.
        layout: ``auto``, ``rounds`` or ``controller``; see `compile_experiment`.

    Raises:
        MissingPackage: KFP's SDK is not installed.
        InputError: A value is wrong, there are several objectives, or the pipeline cannot hold the
            experiment: another one has the same name, it is in a loop with one name, or there are
            too many.
    """
    require("kfp", "an experiment in a pipeline")
    from kfp import components  # type: ignore[import-untyped]
    from kfp.dsl.pipeline_context import Pipeline  # type: ignore[import-untyped]

    later = {name: value for name, value in given.items() if not _is_value(value)}
    _check_types(experiment.name, later)
    now = {name: str(value) for name, value in given.items() if name not in later}
    source = f"experiment {experiment.name} of the pipeline"
    experiment = checked_with(
        experiment.document(), now, lambda document: check_document(document, source)
    )
    if is_several(experiment.spec.objective):
        raise InputError(
            f"experiment {experiment.name} of the pipeline: spec.objective.goals: found several "
            "objectives; allowed: one, whose best parameters are handed on, or the compiled file "
            "as a component, whose output result has the Pareto front"
        )
    check_texts(now)
    arguments = {**later, **parameters_for_start(now)}
    pipeline = Pipeline.get_default_pipeline()
    if pipeline is not None:
        _check_siblings(pipeline, experiment.name, "name" not in later)
    with _another_pipeline(pipeline):
        compiled = compile_experiment(
            experiment,
            image=image,
            package=package,
            layout=layout,
            is_part=True,
            copies=_copies(pipeline),
        )
    for warning in compiled.warnings:
        warnings.warn(f"experiment {experiment.name}: {warning}", stacklevel=3)
    return components.load_component_from_text(compiled.text)(**arguments)


@contextmanager
def _another_pipeline(traced: Any) -> Iterator[None]:
    """Suspends the tracing of a pipeline, as KFP refuses to compile another one meanwhile.

    Args:
        traced: The pipeline that KFP traces; None if it traces none.
    """
    if traced is None:
        yield
        return
    traced.__exit__(None, None, None)
    try:
        yield
    finally:
        traced.__enter__()


def _is_value(value: object) -> bool:
    return isinstance(value, str | Real) and _PLACEHOLDER not in str(value)


def _check_types(experiment: str, later: Mapping[str, Any]) -> None:
    for name, value in later.items():
        kind = getattr(value, "channel_type", None)
        if isinstance(value, str):
            # KFP replaces placeholders in a container's inputs, but not in a pipeline's.
            what = (
                "" if _OF_THE_RUN.fullmatch(value) else "a text with an output or parameter in it"
            )
        elif isinstance(kind, str):
            is_text = kind.lower() in _TEXT_TYPES
            what = "" if is_text else f"an output or parameter of type {kind}"
        else:
            what = repr(value)
        if what:
            raise InputError(
                f"experiment {experiment} of the pipeline: {name}: found {what}; allowed: a value, "
                "or an output or parameter of type str, alone"
            )


def _check_siblings(pipeline: Any, name: str, is_fixed: bool) -> None:
    """Checks that the experiment's name is unique in the pipeline, and that it has room."""
    from kfp import dsl

    others = list(_experiments(pipeline.tasks.values()))
    # Only texts may be compared: `==` of an output makes a condition of KFP's.
    taken = [other for other in map(_name_of, others) if isinstance(other, str)]
    if is_fixed and name in taken:
        raise InputError(
            f"experiment {name} of the pipeline: found another of this name; allowed: names that "
            "differ (name=), as jobs are told apart by them"
        )
    if is_fixed and any(isinstance(group, dsl.ParallelFor) for group in pipeline.groups):
        raise InputError(
            f"experiment {name} of the pipeline: found it in dsl.ParallelFor with one name; "
            "allowed: the loop's item as name=, since jobs are told apart by it"
        )
    if len(others) >= MAX_PARTS:
        raise InputError(
            f"experiment {name} of the pipeline: found {len(others) + 1}; allowed: {MAX_PARTS}, as "
            "Argo stores 1 MB of a run: submit the others as runs of their own"
        )


def _copies(pipeline: Any) -> int | None:
    """Returns how often the loops around a task run it; None if only the run knows.

    Args:
        pipeline: The pipeline that KFP traces; None if it traces none.
    """
    from kfp import dsl

    copies = 1
    for group in pipeline.groups if pipeline is not None else ():
        if not isinstance(group, dsl.ParallelFor):
            continue
        if group.items_is_pipeline_channel:
            return None
        copies *= len(group.loop_argument.items_or_pipeline_channel)
    return copies


def _experiments(tasks: Any) -> Iterator[Any]:
    """Yields the tasks that are experiments: those with all run parameters as inputs."""
    for task in tasks:
        spec = task.pipeline_spec
        if spec is not None and run_parameters().keys() <= set(
            spec.root.input_definitions.parameters
        ):
            yield task


def _name_of(task: Any) -> object:
    default = task.pipeline_spec.root.input_definitions.parameters["name"].default_value
    return task.inputs.get("name", default.string_value)
