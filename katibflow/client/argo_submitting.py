"""Submits an Experiment to Argo Workflows alone: compiles it, and creates the object there.

The same as `submitting` for Kubeflow Pipelines. A Workflow carries all that it needs, so nothing is
uploaded before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from katibflow.client.argo_runs import ArgoRuns
from katibflow.client.base import Trigger
from katibflow.client.package_index import check_release
from katibflow.client.reading import ExperimentRun
from katibflow.client.schedules import argo_schedule
from katibflow.client.submitting import (
    Recurring,
    Submission,
    SubmissionListener,
    check_earlier,
    checked,
)
from katibflow.compiler.argo.emit import ArgoOptions, workflow_object
from katibflow.compiler.argo.objects import Kind
from katibflow.runners.kubernetes.api import Api, Timing, connect
from katibflow.runners.kubernetes.job_object import check_name
from katibflow.study.resume import NONE

__all__ = ["Submitted", "reach", "submit"]

_TIMING = Timing(give_up=20.0)


@dataclass(frozen=True)
class Submitted:
    """The outcome of a submission.

    Attributes:
        runs: The namespace that has the run.
        made: The run that was started, or the schedule that was created.
    """

    runs: ArgoRuns
    made: ExperimentRun | Recurring


def reach(namespace: str | None, context: str | None) -> Api:
    """Returns the API of a cluster for the namespace of runs.

    Args:
        namespace: The namespace; None for the pod's own, or the kubeconfig's.
        context: The kubeconfig's context; None for the cluster of this pod, or the current one.

    Raises:
        MissingPackage: Kubernetes's client is not installed.
        InputError: There is no cluster or no such context, or the namespace is no valid name.
    """
    if namespace is not None:
        check_name("--namespace", namespace)
    return connect(namespace, context, _TIMING)


def submit(
    submission: Submission,
    options: ArgoOptions,
    context: str | None,
    listener: SubmissionListener,
    trigger: Trigger | None = None,
) -> Submitted:
    """Compiles an Experiment, and creates a Workflow of it, or a CronWorkflow.

    Args:
        submission: The Experiment, and how to run it.
        options: What the user says of the object; its kind and schedule follow from ``trigger``.
        context: The kubeconfig's context; None for the cluster of this pod, or the current one.
        listener: Receives warnings and progress.
        trigger: When runs start again and again; None to start one run now. Unless ``resume`` is
            given, each of these runs is a study of its own.

    Raises:
        InputError: The Experiment cannot run there, or does not fit its parameters or the trials of
            earlier runs.
        RunnerError: The cluster has no Argo Workflows, does not answer, or refuses.
    """
    experiment, resume = checked(submission)
    given = dict(submission.parameters)
    schedule = None
    if trigger is not None:
        schedule = argo_schedule(trigger)
        resume = given.setdefault("resume", NONE)
    namespace = options.namespace or experiment.metadata.namespace
    runs = ArgoRuns(reach(namespace, context))
    if submission.package is not None:
        check_release(submission.package)
    if "resume" in given:
        given["resume"] = resume = runs.full_run_id(resume.strip().lower())
    compiled = workflow_object(
        submission.experiment,
        replace(
            options,
            kind=Kind.WORKFLOW if schedule is None else Kind.CRONWORKFLOW,
            schedule=schedule,
            namespace=runs.namespace,
        ),
        image=submission.image,
        package=submission.package,
        layout=submission.layout,
        source=submission.source,
        run_as=experiment,
        given=_texts(given),
    )
    for warning in compiled.warnings:
        listener.warning(warning)
    listener.line(f"layout {compiled.layout}: {compiled.why}")
    check_earlier(runs.api, experiment, {**given, "resume": resume})
    if schedule is not None:
        made = runs.schedule(compiled.body)
        link = f"{runs.namespace}/{experiment.name}"
        listener.line(f"CronWorkflow {experiment.name}: {link}")
        return Submitted(runs, Recurring(made, experiment.name, link))
    run = runs.create(compiled.body)
    listener.line(f"Workflow {run.run.name}: {runs.link(run.run.name)}")
    return Submitted(runs, run)


def _texts(given: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in given.items()}
