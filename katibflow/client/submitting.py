"""Brings an Experiment to Kubeflow Pipelines: compiled, uploaded once, started or scheduled.

The command line and Python both call `submit`; what a person is shown meanwhile is a `Teller`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.client.base import Pipelines, Run, Trigger, Version
from katibflow.client.cluster import Cluster
from katibflow.client.reading import Sweep, full_run_id, link_of
from katibflow.client.schedules import read_cron, read_interval
from katibflow.compiler.emit import compile_experiment
from katibflow.compiler.layouts import AUTO
from katibflow.errors import InputError, KatibflowError
from katibflow.experiment.types import Experiment
from katibflow.runners.kubernetes.api import Api
from katibflow.runners.kubernetes.runner import KubernetesRunner
from katibflow.steps.run_parameters import begun, check_texts, parameters_of, with_parameters
from katibflow.steps.starting import ROUNDS, check_first_round
from katibflow.study.history import History
from katibflow.study.resume import NONE, read_resume
from katibflow.validation.rules import check_document

__all__ = [
    "Ready",
    "Recurring",
    "Submission",
    "Submitted",
    "Teller",
    "check_earlier",
    "prepare",
    "schedule",
    "start",
    "submit",
    "trigger_of",
    "upload",
]

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


@dataclass(frozen=True)
class Recurring:
    """A recurring run that was made.

    Attributes:
        recurring_run_id: KFP's id of it.
        name: Its name: the Experiment's.
        link: Its page in the UI, or else its id.
    """

    recurring_run_id: str
    name: str
    link: str


@dataclass(frozen=True)
class Submitted:
    """What came of a submission.

    Attributes:
        pipelines: Where it went.
        cluster: Where its trials are seen.
        made: The run that was started, or the recurring one that was made.
    """

    pipelines: Pipelines
    cluster: Cluster
    made: Sweep | Recurring


class Teller(Protocol):
    """What a person is told while something is submitted."""

    def warning(self, text: str) -> None:
        """Tells what the user should know of the Experiment."""

    def line(self, text: str) -> None:
        """Tells what was done."""

    def unseen(self, error: KatibflowError) -> None:
        """Tells why the cluster cannot be looked at, which is no fault."""


def submit(
    submission: Submission, access: Access, teller: Teller, trigger: Trigger | None = None
) -> Submitted:
    """Compiles an Experiment, uploads it unless it is there, and starts it or makes it recur.

    Args:
        submission: What, and how.
        access: Where.
        teller: Told of it meanwhile.
        trigger: When a recurring run runs; None to start one run now.

    Raises:
        InputError: It cannot run there, not with these parameters, or not with the trials of
            earlier runs.
        RunnerError: The server cannot be reached, or refuses.
    """
    ready = prepare(submission)
    for warning in ready.warnings:
        teller.warning(warning)
    teller.line(f"layout {ready.layout}: {ready.why}")
    pipelines = connect(access)
    cluster = Cluster(pipelines, access, teller.unseen)
    given = ready.parameters.get("resume")
    if given is not None:
        ready = ready.resuming(full_run_id(pipelines, given.strip().lower()))
    resume = ready.parameters.get("resume", NONE) if trigger is not None else ready.resume
    cluster.if_readable(lambda api: check_earlier(api, ready, resume))
    version, is_new = upload(pipelines, ready)
    done = "uploaded" if is_new else "there already"
    teller.line(f"pipeline {ready.pipeline}, version {ready.version}: {done}")
    if trigger is not None:
        made = schedule(pipelines, ready, version, trigger)
        link = pipelines.link(f"recurringrun/details/{made}") or made
        teller.line(f"recurring run {ready.experiment.name}: {link}")
        return Submitted(pipelines, cluster, Recurring(made, ready.experiment.name, link))
    run = start(pipelines, ready, version)
    teller.line(f"run {run.name}: {link_of(pipelines, run)}")
    sweep = Sweep(run, ready.experiment, ready.layout, ready.resume)
    return Submitted(pipelines, cluster, sweep)


def trigger_of(schedule: str | None, every: str | None) -> Trigger | None:
    """Returns when a recurring run runs, or None for a run that is started now.

    Args:
        schedule: A cron expression.
        every: A time between two starts.

    Raises:
        InputError: Both are given, or one is wrong.
    """
    if schedule is not None and every is not None:
        raise InputError("--schedule and --every: found both; allowed: one of them")
    if schedule is not None:
        return read_cron(schedule)
    return read_interval(every) if every is not None else None


def prepare(submission: Submission) -> Ready:
    """Checks and compiles.

    Raises:
        InputError: The Experiment cannot run there, or not with these parameters.
    """
    document = with_parameters(submission.experiment.document(), submission.parameters)
    experiment = check_document(document, _PARAMETERS)
    check_texts(submission.parameters)
    resume = {**parameters_of(submission.experiment), **submission.parameters}["resume"]
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


def check_earlier(api: Api, ready: Ready, resume: str) -> None:
    """Refuses what a run's first step would refuse for the trials that it finds.

    Args:
        api: The namespace of the trials' jobs.
        ready: The run that is to be started.
        resume: The run's parameter of that name.

    Raises:
        InputError: Earlier trials do not fit, or leave nothing to do.
        RunnerError: They cannot be read.
    """
    if read_resume(resume) == NONE:
        return
    empty = History(ready.experiment, "new", 0)
    runner = KubernetesRunner(
        api,
        experiment=ready.experiment.name,
        run=empty.run,
        template=ready.experiment.spec.trial_template,
    )
    given = {**ready.parameters, "resume": resume}
    history = begun(_PARAMETERS, empty, given, runner.earlier())
    if ready.layout == ROUNDS:
        check_first_round(history)
