"""The backend for a Kubernetes cluster: trials are jobs in a namespace by the kubeconfig."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from katibflow.extras import require
from katibflow.runners.backends import Backend, Given, Option, RunSetup

if TYPE_CHECKING:
    from pathlib import Path

    from katibflow.experiment.config_map import ReadConfigMap
    from katibflow.experiment.types import Experiment, TrialTemplate
    from katibflow.runners.kubernetes.api import Api
    from katibflow.runners.kubernetes.runner import KubernetesRunner
    from katibflow.study.history import History
    from katibflow.study.resume import EarlierTrial

__all__ = ["BACKEND", "KubernetesBackend"]


class KubernetesBackend:
    """Runs trials as jobs of a cluster; a `runners.backends.Backend`."""

    summary = "jobs in a cluster"
    options = (
        Option("namespace", "Of the jobs; by default the Experiment's, or else the kubeconfig's."),
        Option("context", "The kubeconfig's context; by default the current one."),
        Option(
            "resume",
            "Begin with the trials of this name's earlier runs in the cluster, of all or of one "
            "(its label katibflow/run).",
            metavar="all|RUN",
        ),
    )

    def check(self, experiment: Experiment, given: Given, source: str) -> None:
        """Checks the run to resume, and that checkpoints have a volume."""
        from katibflow.runners.kubernetes.checkpoints import check_checkpoints
        from katibflow.study.resume import read_resume

        check_checkpoints(experiment, source)
        read_resume(given.get("resume") or "")

    def set_up(self, experiment: Experiment, given: Given, source: str) -> RunSetup:
        """Prepares runners for the cluster that the kubeconfig names."""
        require("kubernetes", "katibflow run --on kubernetes")
        from katibflow.runners.kubernetes.runner import connect
        from katibflow.study.resume import NONE, read_resume, take_over

        resume = read_resume(given.get("resume") or NONE)
        namespace = given.get("namespace") or experiment.metadata.namespace
        api = connect(namespace, given.get("context"))

        def begin(history: History, keep: bool) -> History:
            earlier = _runner(api, experiment, history.run).earlier()
            return take_over(source, history, resume, earlier, keep)

        _runner(api, experiment, "0" * 8)  # it checks names and conditions, before anything is made
        return RunSetup(
            lambda history, folder: _runner(api, experiment, history.run),
            None if resume == NONE else begin,
            place={"--namespace": api.namespace},
        )

    def template_reader(self, given: Given) -> ReadConfigMap:
        """Returns a function that reads a ConfigMap from the cluster."""
        from katibflow.runners.kubernetes.config_maps import map_in_cluster

        return map_in_cluster(given.get("context"))

    def step_runner(self, history: History) -> KubernetesRunner:
        """Makes the runner of a pipeline's run, in the namespace of its steps."""
        from katibflow.runners.kubernetes.owner import workflow_of_pod
        from katibflow.runners.kubernetes.runner import connect

        api = connect()
        return _runner(api, history.experiment, history.run, workflow_of_pod(api))

    def earlier(self, history: History) -> Iterable[EarlierTrial]:
        """Finds the trials of all runs by the labels of their jobs."""
        from katibflow.runners.kubernetes.runner import connect

        runner = _runner(connect(), history.experiment, history.run)
        try:
            return runner.earlier()
        finally:
            runner.close()

    def log_files(self, history: History) -> Mapping[int, Mapping[str, Path]]:
        """Returns no files: the logs are in the cluster."""
        return {}

    def experiments_of(self, run: str) -> Iterable[str]:
        """Finds the Experiments in the run's own Workflow."""
        from katibflow.runners.kubernetes.api import connect
        from katibflow.runners.kubernetes.owner import experiments_in, workflows_of

        api = connect()
        try:
            return [text for body in workflows_of(api, run) for text in experiments_in(body)]
        finally:
            api.closed.set()

    def left_logs(
        self, experiment: str, run: str, template: TrialTemplate
    ) -> Iterator[tuple[str, Sequence[str]]]:
        """Yields the logs of the trials' pods, which go when a trial is stopped."""
        from katibflow.runners.kubernetes.job_object import Identity, is_name
        from katibflow.runners.kubernetes.left_logs import left_logs
        from katibflow.runners.kubernetes.runner import connect

        if is_name(experiment):
            api = connect()
            yield from left_logs(api, Identity(api.namespace, experiment, run), template)

    def is_shut_down(self) -> bool:
        """Returns whether this pod's Workflow was stopped, terminated or deleted."""
        from katibflow.runners.kubernetes.api import connect
        from katibflow.runners.kubernetes.owner import is_shut_down, workflow_of_pod

        api = connect()
        try:
            owner = workflow_of_pod(api)
            return owner is not None and is_shut_down(api, owner)
        finally:
            api.closed.set()

    def pipeline_run(self) -> str | None:
        """Reads the label that Kubeflow Pipelines gives a run's pods."""
        from katibflow.runners.kubernetes.api import connect
        from katibflow.runners.kubernetes.owner import run_of_pod

        api = connect()
        try:
            return run_of_pod(api)
        finally:
            api.closed.set()

    def finish(self, experiment: str, run: str, template: TrialTemplate) -> Sequence[str]:
        """Stops the jobs of a run, and puts their trials on record as interrupted."""
        from katibflow.runners.kubernetes.job_object import is_name
        from katibflow.runners.kubernetes.owner import workflow_of_pod
        from katibflow.runners.kubernetes.runner import KubernetesRunner, connect

        if not is_name(experiment):
            return ()
        api = connect()
        runner = KubernetesRunner(
            api, experiment=experiment, run=run, template=template, owner=workflow_of_pod(api)
        )
        try:
            return runner.interrupt("the pipeline run is over")
        finally:
            runner.close()


def _runner(
    api: Api, experiment: Experiment, run: str, owner: Mapping[str, Any] | None = None
) -> KubernetesRunner:
    from katibflow.runners.kubernetes.runner import KubernetesRunner
    from katibflow.study.resume import search_text

    return KubernetesRunner(
        api,
        experiment=experiment.name,
        run=run,
        template=experiment.spec.trial_template,
        owner=owner,
        search=search_text(experiment),
    )


BACKEND: Backend = KubernetesBackend()
