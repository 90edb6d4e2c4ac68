"""Submits an Experiment to Kubeflow Pipelines: compiles it, uploads it, starts or schedules a run.

The command line and Python both call `submit`. A `SubmissionListener` shows its progress to the
user; nothing is printed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.client.base import Pipelines, Run, Trigger, Version
from katibflow.client.cluster import Cluster
from katibflow.client.package_index import check_release
from katibflow.client.reading import ExperimentRun, full_run_id, link_of
from katibflow.compiler.emit import compile_experiment
from katibflow.compiler.layouts import AUTO
from katibflow.errors import InputError, KatibflowError
from katibflow.experiment.types import Experiment
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.runner import KubernetesRunner
from katibflow.steps.run_parameters import (
    check_texts,
    checked_with,
    initial_study,
    parameters_of,
)
from katibflow.steps.starting import check_first_trials
from katibflow.steps.values import is_nothing
from katibflow.study.history import History
from katibflow.study.resume import NONE, EarlierTrial, read_resume
from katibflow.validation.rules import check_document

__all__ = [
    "Ready",
    "Recurring",
    "Submission",
    "SubmissionListener",
    "Submitted",
    "check_earlier",
    "checked",
    "prepare",
    "schedule",
    "start",
    "submit",
    "upload",
]

_PARAMETERS = "the run's parameters"


@dataclass(frozen=True)
class Submission:
    """An Experiment to run, and how to run it.

    Attributes:
        experiment: The Experiment as its file has it.
        source: The file's name, for errors.
        parameters: The parameters that were given for the run, by the pipeline's names.
        layout: ``auto``, ``rounds`` or ``controller``.
        image: Image for all steps; see `compile_experiment`.
        package: Release to install in the steps; see `compile_experiment`.
        kfp_experiment: Name of KFP's experiment for the run; by default the Experiment's name.
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
    """A submission that was checked and compiled, before any request to a server.

    Attributes:
        experiment: The Experiment with the run's parameters in it.
        pipeline: The pipeline's name.
        version: The version's name: the pipeline's name and a hash of the text.
        text: The compiled pipeline.
        layout: The pipeline's layout: ``rounds`` or ``controller``.
        why: Why it has that layout, in a sentence.
        warnings: Warnings for the user, a sentence each.
        parameters: The parameters that were given for the run.
        resume: The run's parameter ``resume``, given or by default.
        kfp_experiment: Name of KFP's experiment for the run.
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
        """Returns the same with another parameter ``resume``."""
        return replace(self, parameters={**self.parameters, "resume": resume}, resume=resume)


@dataclass(frozen=True)
class Recurring:
    """A recurring run that was created, or a CronWorkflow of Argo's.

    Attributes:
        recurring_run_id: KFP's id of the recurring run, or the CronWorkflow's uid.
        name: The recurring run's name, which is the Experiment's.
        link: The address of its page in the UI, or its id if the address is not known.
    """

    recurring_run_id: str
    name: str
    link: str


@dataclass(frozen=True)
class Submitted:
    """The outcome of a submission.

    Attributes:
        pipelines: The installation that has the run.
        cluster: The cluster that has the run's trials.
        made: The run that was started, or the recurring run that was created.
    """

    pipelines: Pipelines
    cluster: Cluster
    made: ExperimentRun | Recurring


class SubmissionListener(Protocol):
    """Shows the progress of a submission to the user."""

    def warning(self, text: str) -> None:
        """Receives a warning about the Experiment."""

    def line(self, text: str) -> None:
        """Receives a line that says what was done."""

    def cluster_unavailable(self, error: KatibflowError) -> None:
        """Receives the reason why the cluster cannot be read; the submission goes on."""


def submit(
    submission: Submission,
    access: Access,
    listener: SubmissionListener,
    trigger: Trigger | None = None,
) -> Submitted:
    """Compiles an Experiment, uploads it unless it is there, and starts or schedules a run.

    Args:
        submission: The Experiment, and how to run it.
        access: The installation and its login.
        listener: Receives warnings and progress.
        trigger: When the recurring run starts runs; None to start one run now.

    Raises:
        InputError: The Experiment cannot run there, or does not fit its parameters or the trials
            of earlier runs.
        RunnerError: The server cannot be reached, or refuses.
    """
    ready = prepare(submission)
    if submission.package is not None:
        check_release(submission.package)
    for warning in ready.warnings:
        listener.warning(warning)
    listener.line(f"layout {ready.layout}: {ready.why}")
    pipelines = connect(access)
    cluster = Cluster(pipelines, access, listener.cluster_unavailable)
    asked = ready.parameters.get("resume")
    if asked is not None:
        ready = ready.resuming(full_run_id(pipelines, asked.strip().lower()))
    resume = ready.parameters.get("resume", NONE) if trigger is not None else ready.resume
    given = {**ready.parameters, "resume": resume}
    cluster.if_readable(lambda api: check_earlier(api, ready.experiment, given))
    version, is_new = upload(pipelines, ready)
    done = "uploaded" if is_new else "there already"
    listener.line(f"pipeline {ready.pipeline}, version {ready.version}: {done}")
    if trigger is not None:
        made = schedule(pipelines, ready, version, trigger)
        link = pipelines.link(f"recurringrun/details/{made}") or made
        listener.line(f"recurring run {ready.experiment.name}: {link}")
        return Submitted(pipelines, cluster, Recurring(made, ready.experiment.name, link))
    run = start(pipelines, ready, version)
    listener.line(f"run {run.name}: {link_of(pipelines, run)}")
    experiment_run = ExperimentRun(run, ready.experiment, ready.layout, ready.resume)
    return Submitted(pipelines, cluster, experiment_run)


def prepare(submission: Submission) -> Ready:
    """Checks a submission and compiles its pipeline.

    Raises:
        InputError: The Experiment cannot be compiled, or does not fit its parameters.
    """
    experiment, resume = checked(submission)
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


def checked(submission: Submission) -> tuple[Experiment, str]:
    """Returns the Experiment with the run's parameters in it, and the parameter ``resume``.

    Raises:
        InputError: The Experiment does not fit its parameters.
    """
    experiment = checked_with(
        submission.experiment.document(),
        submission.parameters,
        lambda document: check_document(document, _PARAMETERS),
    )
    check_texts(submission.parameters)
    resume = {**parameters_of(submission.experiment), **submission.parameters}["resume"]
    return experiment, resume


def upload(pipelines: Pipelines, ready: Ready) -> tuple[Version, bool]:
    """Uploads the pipeline unless it is there; returns the version, and whether it is new."""
    description = f"Katib Experiment {ready.pipeline}, compiled by katibflow"
    return pipelines.upload(ready.pipeline, ready.version, ready.text, description)


def start(pipelines: Pipelines, ready: Ready, version: Version, now: datetime | None = None) -> Run:
    """Starts a run, whose name is the Experiment's name and the time.

    Args:
        pipelines: The installation to run in.
        ready: The compiled submission.
        version: The uploaded version.
        now: The time for the name; by default the present time.
    """
    name = f"{ready.experiment.name}-{now or datetime.now(UTC):%Y%m%d-%H%M%S}"
    return pipelines.start(ready.kfp_experiment, name, version, ready.parameters)


def schedule(pipelines: Pipelines, ready: Ready, version: Version, trigger: Trigger) -> str:
    """Creates a recurring run of the Experiment's name, and returns its id.

    KFP replaces no placeholders in a recurring run's parameters, so all its runs have the same.
    Their jobs are kept apart by each run's own id. Unless ``resume`` is given, each run is a study
    of its own, whatever the Experiment's resumePolicy: the second would find nothing left to do.

    Raises:
        InputError: A recurring run of that name exists; KFP would run both.
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


def check_earlier(api: Api, experiment: Experiment, given: Mapping[str, str]) -> None:
    """Checks the trials of earlier runs as the run's first step will check them.

    Args:
        api: The API for the namespace of the trials' jobs.
        experiment: The Experiment with the run's parameters in it.
        given: The run's parameters that were given, and ``resume``.

    Raises:
        InputError: Earlier trials do not fit, or leave nothing to do.
        RunnerError: Earlier trials cannot be read.
    """
    if read_resume(given["resume"]) == NONE and is_nothing(given.get("warmStart", NONE)):
        return
    empty = History(experiment, "new", 0)

    def earlier(name: str) -> Sequence[EarlierTrial]:
        template = experiment.spec.trial_template
        return KubernetesRunner(api, experiment=name, run=empty.run, template=template).earlier()

    check_first_trials(initial_study(_PARAMETERS, empty, given, earlier))
