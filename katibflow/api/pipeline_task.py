"""Experiments as parts of pipelines that are written in the Kubeflow Pipelines DSL."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from katibflow.api.experiment import Experiment
    from katibflow.experiment import types

__all__ = ["pipeline_task"]


def pipeline_task(
    source: str | PathLike[str] | Mapping[str, Any] | Experiment | types.Experiment,
    *,
    name: Any = None,
    parallel_trial_count: Any = None,
    max_trial_count: Any = None,
    max_failed_trial_count: Any = None,
    goal: Any = None,
    trial_timeout: Any = None,
    trial_start_timeout: Any = None,
    resume: Any = None,
    layout: str = "auto",
    image: str | None = None,
    package: str | None = None,
    config_map: str | PathLike[str] | Mapping[str, Any] | None = None,
) -> Any:
    """A whole experiment as one task of the pipeline in whose function this is called.

    The task's outputs are ``best_parameters`` (a dict: parameter name to value, a text as in
    Katib) and ``best_value`` (a float: the objective of that trial). It fails, and with it the run,
    when the experiment fails or no trial has a finite objective; jobs that still run are stopped
    either way.

    What a run can change is a value, or an output of another task or parameter of the pipeline of
    type ``str``, and no text with one in it, which KFP leaves as it stands; left out, it is the
    Experiment's own, and ``"none"`` takes it away.

    Args:
        source: The Experiment: a file's path, its YAML text (with a line break in it), the same as
            a mapping, or a ``katibflow.Experiment``, as of ``tune``.
        name: Its name, by which its jobs are told from those of others.
        parallel_trial_count: Trials at a time, from 1.
        max_trial_count: Trials in all, from 1; ``"+10"``: ten beside those that ``resume`` takes.
        max_failed_trial_count: Failed trials with which it fails, from 0.
        goal: The objective with which it ends.
        trial_timeout: Seconds that a trial may take.
        trial_start_timeout: Seconds within which a trial's pods must run.
        resume: Earlier runs whose trials count: ``none``, ``all`` or a run's id.
        layout: ``rounds``: a step for each trial; ``controller``: one step for all of them;
            ``auto``: ``rounds`` where the trials fit into their share of one run.
        image: Image with katibflow for all steps, in place of the code in the pipeline.
        package: ``katibflow==X``: install this release in each step, likewise.
        config_map: The ConfigMap with the trial template, as a file's path or a mapping.

    Raises:
        InputError: The Experiment or an option is wrong, or the pipeline cannot hold it.
    """
    from katibflow.api.experiment import Experiment
    from katibflow.compiler.embedding import embed
    from katibflow.validation.reading import experiment_of

    if isinstance(source, Experiment):
        source = source.to_yaml()
    given = {
        "name": name,
        "parallelTrialCount": parallel_trial_count,
        "maxTrialCount": max_trial_count,
        "maxFailedTrialCount": max_failed_trial_count,
        "goal": goal,
        "trialTimeout": trial_timeout,
        "trialStartTimeout": trial_start_timeout,
        "resume": resume,
    }
    return embed(
        experiment_of(source, config_map),
        {key: value for key, value in given.items() if value is not None},
        image=image,
        package=package,
        layout=layout,
    )
