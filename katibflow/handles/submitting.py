"""Submits an Experiment to an engine, and returns the run's handle, for commands and Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from katibflow.compiler.targets import Target, check_options
from katibflow.extras import require
from katibflow.handles.base import RunHandle, Where

if TYPE_CHECKING:
    from katibflow.client.base import Trigger
    from katibflow.client.submitting import Recurring, Submission, SubmissionListener

__all__ = ["Destination", "submit"]


@dataclass(frozen=True)
class Destination:
    """Where an Experiment is to run, and as whom.

    Attributes:
        to: The engine.
        host: The address of Kubeflow Pipelines; None to take it from the environment.
        namespace: The namespace of the run and its jobs; None for the default one.
        context: The kubeconfig's context; None for the current one.
        ca_file: File with the certificates to trust for the host; None for the usual ones.
        service_account: The service account of Argo's pods; None for the namespace's.
        has_artifacts: Whether Argo has an artifact repository that is to be used.
        argo_version: The version of Argo, as ``3.7``; None for the newest.
    """

    to: Target = Target.KFP
    host: str | None = None
    namespace: str | None = None
    context: str | None = None
    ca_file: str | Path | None = None
    service_account: str | None = None
    has_artifacts: bool = False
    argo_version: str | None = None

    def check(self, kfp_experiment: str | None) -> None:
        """Checks that no option of another engine is given.

        Args:
            kfp_experiment: The name of KFP's experiment; None if none is given.

        Raises:
            InputError: One is.
        """
        given = {
            "--host": self.host,
            "--ca-file": self.ca_file,
            "--kfp-experiment": kfp_experiment,
            "--service-account": self.service_account,
            "--artifacts": self.has_artifacts,
            "--argo-version": self.argo_version,
        }
        check_options(self.to, given, "--to")


def submit(
    submission: Submission,
    destination: Destination,
    listener: SubmissionListener,
    trigger: Trigger | None,
    warn: Callable[[str], None],
) -> RunHandle | Recurring:
    """Starts or schedules runs of an Experiment.

    Args:
        submission: The Experiment, and how to run it.
        destination: Where to run it.
        listener: Receives warnings and progress.
        trigger: When runs start again and again; None to start one run now.
        warn: Receives later warnings about the run.

    Raises:
        MissingPackage: What the engine needs is not installed.
        InputError: The Experiment cannot run there, or does not fit its parameters or the trials
            of earlier runs.
        RunnerError: The server cannot be reached, or refuses.
    """
    where = Where(warn, namespace=destination.namespace, context=destination.context)
    if destination.to is Target.ARGO:
        return _to_argo(submission, destination, listener, trigger, where)
    return _to_kfp(submission, destination, listener, trigger)


def _to_argo(
    submission: Submission,
    destination: Destination,
    listener: SubmissionListener,
    trigger: Trigger | None,
    where: Where,
) -> RunHandle | Recurring:
    require("argo", "a run in Argo Workflows")
    from katibflow.client.argo_submitting import submit as submit_to_argo
    from katibflow.client.submitting import Recurring
    from katibflow.compiler.argo.emit import ArgoOptions
    from katibflow.compiler.argo.objects import NEWEST
    from katibflow.handles.argo import ArgoRun

    options = ArgoOptions(
        service_account=destination.service_account,
        has_artifacts=destination.has_artifacts,
        version=destination.argo_version or NEWEST,
        namespace=destination.namespace,
    )
    submitted = submit_to_argo(submission, options, destination.context, listener, trigger)
    if isinstance(submitted.made, Recurring):
        return submitted.made
    return ArgoRun(submitted.runs, submitted.made, where)


def _to_kfp(
    submission: Submission,
    destination: Destination,
    listener: SubmissionListener,
    trigger: Trigger | None,
) -> RunHandle | Recurring:
    require("kfp", "a run in Kubeflow Pipelines")
    from katibflow.client.cluster import access_of
    from katibflow.client.submitting import Recurring
    from katibflow.client.submitting import submit as submit_to_kfp
    from katibflow.handles.kfp import KfpRun

    access = access_of(
        destination.host, destination.namespace, destination.context, destination.ca_file
    )
    submitted = submit_to_kfp(submission, access, listener, trigger)
    if isinstance(submitted.made, Recurring):
        return submitted.made
    return KfpRun(submitted.pipelines, submitted.made, submitted.cluster)
