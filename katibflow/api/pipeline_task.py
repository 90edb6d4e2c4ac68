"""Makes an Experiment one task of a user's own pipeline in the Kubeflow Pipelines DSL."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from katibflow.api.run_keywords import with_run_keywords
from katibflow.steps.run_parameters import by_names

if TYPE_CHECKING:
    from katibflow.api.experiment import Experiment
    from katibflow.experiment import types

__all__ = ["pipeline_task"]


@with_run_keywords
def pipeline_task(
    source: str | PathLike[str] | Mapping[str, Any] | Experiment | types.Experiment,
    *,
    layout: str = "auto",
    image: str | None = None,
    package: str | None = None,
    config_map: str | PathLike[str] | Mapping[str, Any] | None = None,
    **run_parameters: Any,
) -> Any:
    """Returns a whole experiment as one task of the pipeline in whose function this is called.

    The task's outputs are ``best_parameters`` (a dict: parameter name to value, a text as in
    Katib) and ``best_value`` (a float: the objective of that trial). It fails, and with it the run,
    when the experiment fails or no trial has a finite objective; jobs that still run are stopped
    either way.

    A run's parameter is a value, or an output of another task or a parameter of the pipeline, of
    type ``str``. A text that contains one is refused, since KFP would not replace it. A parameter
    that is left out keeps the Experiment's value; ``"none"`` removes that.

    Args:
        source: The Experiment: a file's path, YAML text (with a line break in it), a mapping, or a
            ``katibflow.Experiment``, as ``tune`` returns it.
        layout: ``rounds``: a step for each trial; ``controller``: one step for all of them;
            ``auto``: ``rounds`` where the trials fit into their share of one run.
        image: Image with katibflow for all steps, in place of the code in the pipeline.
        package: A release to install in each step, as ``katibflow==X``, in place of the code in the
            pipeline.
        config_map: The ConfigMap with the trial template, as a file's path or a mapping.
        **run_parameters: What the run changes, see `katibflow.steps.run_parameters`.

    Raises:
        InputError: The Experiment or an option is wrong, or the pipeline cannot hold it.
    """
    from katibflow.api.experiment import Experiment
    from katibflow.compiler.embedding import embed
    from katibflow.validation.reading import experiment_of

    if isinstance(source, Experiment):
        source = source.to_yaml()
    return embed(
        experiment_of(source, config_map),
        by_names({}, run_parameters),
        image=image,
        package=package,
        layout=layout,
    )
