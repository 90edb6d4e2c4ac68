"""Brings an Experiment to Kubeflow Pipelines: compiled, uploaded once, started or scheduled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from katibflow.client.base import Pipelines, Run, Trigger, Version
from katibflow.compiler.emit import compile_experiment
from katibflow.compiler.layouts import AUTO
from katibflow.errors import InputError
from katibflow.experiment.types import Experiment
from katibflow.steps.starting import parameters_of, with_parameters
from katibflow.study.resume import NONE, read_resume
from katibflow.validation.rules import check_document

__all__ = ["Ready", "Submission", "prepare", "schedule", "start", "upload"]

_PARAMETERS = "the run's parameters"


@dataclass(frozen=True)
class Submission:
    """What is to be run, and how.

    Attributes:
        experiment: As the file has it.
        source: The file, for errors.
        parameters: The run's parameters that were given, by the pipeline's names.
        layout: The pipeline's.
        image: See `compile_experiment`.
        package: See `compile_experiment`.
        kfp_experiment: KFP's experiment for the run; by default of the Experiment's name.
    """

    experiment: Experiment
    source: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    layout: str = AUTO
    image: str | None = None
    package: str | None = None
    kfp_experiment: str | None = None


@dataclass(frozen=True)
class Ready:
    """A submission that was checked and compiled; nothing was asked of a server yet.

    Attributes:
        experiment: The Experiment with the run's parameters in it.
        pipeline: The pipeline's name.
        version: The version's name: the pipeline's, and a hash of the text.
        text: The compiled pipeline.
        layout: The pipeline's.
        why: Why that one, in a sentence.
        warnings: What the user should know, a sentence each.
        parameters: The run's parameters that were given.
        resume: The run's parameter of that name, given or not.
        kfp_experiment: KFP's experiment for the run.
    """

    experiment: Experiment
    pipeline: str
    version: str
    text: str
    layout: str
    why: str
    warnings: tuple[str, ...]
    parameters: Mapping[str, str]
    resume: str
    kfp_experiment: str

    def resuming(self, resume: str) -> Ready:
        """The same with another parameter ``resume``."""
        return replace(self, parameters={**self.parameters, "resume": resume}, resume=resume)


def prepare(submission: Submission) -> Ready:
    """Checks and compiles.

    Raises:
        InputError: The Experiment cannot run there, or not with these parameters.
    """
    document = with_parameters(submission.experiment.document(), submission.parameters)
    experiment = check_document(document, _PARAMETERS)
    resume = submission.parameters.get("resume", parameters_of(submission.experiment)["resume"])
    read_resume(resume)
    compiled = compile_experiment(
        submission.experiment,
        image=submission.image,
        package=submission.package,
        layout=submission.layout,
        source=submission.source,
        run_as=experiment,
    )
    name = submission.experiment.name
    return Ready(
        experiment=experiment,
        pipeline=name,
        version=f"{name}-{hashlib.sha256(compiled.text.encode()).hexdigest()[:12]}",
        text=compiled.text,
        layout=compiled.layout,
        why=compiled.why,
        warnings=compiled.warnings,
        parameters=dict(submission.parameters),
        resume=resume,
        kfp_experiment=submission.kfp_experiment or experiment.name,
    )


def upload(pipelines: Pipelines, ready: Ready) -> tuple[Version, bool]:
    """The uploaded version, and whether its content was new."""
    description = f"Katib Experiment {ready.pipeline}, compiled by katibflow"
    return pipelines.upload(ready.pipeline, ready.version, ready.text, description)


def start(pipelines: Pipelines, ready: Ready, version: Version, now: datetime | None = None) -> Run:
    """Starts a run; its name tells the Experiment's and the time.

    Args:
        pipelines: Where.
        ready: What.
        version: The uploaded version.
        now: The time, by default the present one.
    """
    name = f"{ready.experiment.name}-{now or datetime.now(UTC):%Y%m%d-%H%M%S}"
    return pipelines.start(ready.kfp_experiment, name, version, ready.parameters)


def schedule(pipelines: Pipelines, ready: Ready, version: Version, trigger: Trigger) -> str:
    """Makes a recurring run of the Experiment's name; its id.

    KFP replaces no placeholders in a recurring run's parameters, so all its runs have the same.
    Their jobs are kept apart by each run's own id. Unless ``resume`` is given, each run is a study
    of its own, whatever the Experiment's resumePolicy: the second would find nothing left to do.

    Raises:
        InputError: There is one of that name already; KFP would run both.
    """
    name = ready.experiment.name
    known = dict(pipelines.schedules(ready.kfp_experiment))
    if name in known:
        raise InputError(
            f'--name: found "{name}", which recurs already ({known[name]}), and Kubeflow Pipelines '
            "cannot change a recurring run; allowed: another --name, or delete that one first"
        )
    parameters = {"resume": NONE, **ready.parameters}
    return pipelines.schedule(ready.kfp_experiment, name, version, parameters, trigger)
