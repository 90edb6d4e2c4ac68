"""A server double with a runner that talks to it, and helpers to run one trial."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from katibflow.experiment import job_kinds
from katibflow.experiment.timeouts import Limits
from katibflow.experiment.types import TrialTemplate
from katibflow.runners.base import JobOutcome, TrialJob
from katibflow.runners.events import Notice
from katibflow.runners.kubernetes.api import Timing, connect
from katibflow.runners.kubernetes.rbac import queue_role, role
from katibflow.runners.kubernetes.runner import KubernetesRunner
from katibflow.runners.stopping import StopRequest
from tests.behaviour.runner_contract import Watch, Work, trial
from tests.doubles.kubernetes.plays import JobPlay, Script, completes
from tests.doubles.kubernetes.server import NAMESPACE, ApiServer

EXPERIMENT, RUN = "contract", "0a1b2c3d"
FAST = Timing(
    notice=0.1,
    settle=0.4,
    grace=0.4,
    linger=0.4,
    explain=2.0,
    log=5.0,
    leave=2.0,
    stop=3.0,
    backoff=0.02,
    backoff_most=0.2,
    give_up=20.0,
)
"""The runner's waits, made short."""

SOON = Limits(trial=25, start=0.6)
KINDS = ("Job", "PyTorchJob")


def container(name: str = "main", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "none", **more}


def pod_template(*containers: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers) or [container()], **spec}}


def batch_job(template: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    pods = template or pod_template(restartPolicy="Never")
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": pods, **spec}}


def pytorch_job(
    template: Mapping[str, Any] | None = None, *, masters: int = 1, workers: int = 1, **spec: Any
) -> dict[str, Any]:
    pods = template or pod_template(restartPolicy="OnFailure")
    counts = {"Master": masters, "Worker": workers}
    replicas = {
        name: {"replicas": count, "restartPolicy": "OnFailure", "template": pods}
        for name, count in counts.items()
        if count
    }
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "spec": {"pytorchReplicaSpecs": replicas, **spec},
    }


class Lab:
    """The contract's `Lab` on Kubernetes; the tests of this folder use its cluster too."""

    def __init__(self, folder: Path) -> None:
        known = [kind for kind in job_kinds.KINDS.values() if kind.kind in KINDS]
        self.server = ApiServer([*role(known, "test")["rules"], *queue_role()["rules"]])
        self.server.script = completes()
        self.folder = folder
        self.template = TrialTemplate.model_validate(
            {"primaryContainerName": "main", "trialSpec": batch_job()}
        )
        self._runners: list[KubernetesRunner] = []
        self._gates: dict[int, threading.Event] = {}
        self._work: dict[int, Work] = {}
        self._begun: list[int] = []
        self._pool = ThreadPoolExecutor()

    def close(self) -> None:
        for gate in self._gates.values():
            gate.set()
        for runner in self._runners:
            runner.close()
        self.server.down()
        self._pool.shutdown()

    def template_of(self, manifest: Mapping[str, Any], **more: Any) -> None:
        """Sets the experiment's trialTemplate."""
        spec = {"primaryContainerName": "main", "trialSpec": manifest, **more}
        self.template = TrialTemplate.model_validate(spec)

    def kubeconfig(self) -> Path:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "c", "cluster": {"server": self.server.url}}],
            "users": [{"name": "u", "user": {"token": "secret-token"}}],
            "contexts": [
                {"name": "test", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}},
                {"name": "other", "context": {"cluster": "c", "user": "u"}},
            ],
        }
        path = self.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    def runner(self, timing: Timing = FAST, **more: Any) -> KubernetesRunner:
        import pytest

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", str(self.kubeconfig()))
            api = connect(timing=timing)
        made = KubernetesRunner(
            api, **({"experiment": EXPERIMENT, "run": RUN, "template": self.template} | more)
        )
        self._runners.append(made)
        return made

    def trial_job(self, number: int = 0, limits: Limits | None = None) -> TrialJob:
        assert self.template.trial_spec
        return TrialJob(
            trial(number),
            self.template.trial_spec,
            self.template.primary_container_name,
            limits or Limits(trial=25),
        )

    def run(
        self, script: Script, limits: Limits | None = None, timing: Timing = FAST
    ) -> tuple[JobOutcome, Watch]:
        """Runs trial 0 in a cluster that plays the script."""
        self.server.script = script
        watch = Watch()
        outcome = self.runner(timing).run(self.trial_job(0, limits), watch, StopRequest())
        return outcome, watch

    def begin(
        self,
        script: Script | None = None,
        number: int = 0,
        runner: KubernetesRunner | None = None,
        limits: Limits | None = None,
    ) -> tuple[Future[JobOutcome], Watch, StopRequest]:
        """Does the same in the background."""
        if script:
            self.server.script = script
        watch, stop = Watch(), StopRequest()
        job = self.trial_job(number, limits)
        return self._pool.submit((runner or self.runner()).run, job, watch, stop), watch, stop

    def object(self, number: int = 0) -> dict[str, Any]:
        """Returns the job of a trial, as it is in the cluster."""
        return self.server.objects[self.plural][f"{EXPERIMENT}-{RUN}-{number}"]

    @property
    def plural(self) -> str:
        return job_kinds.kind_of(self.template.trial_spec or {}).plural

    def pods(self) -> list[str]:
        return sorted(self.server.objects["pods"])

    # The contract's Lab

    def job(self, number: int, work: Work, limits: Limits | None = None) -> TrialJob:
        self._work[number] = work
        self._gates.setdefault(number, threading.Event())
        self.server.script = self._do_work
        return self.trial_job(number, limits)

    def _do_work(self, play: JobPlay) -> None:
        work = self._work[play.number]
        self._begun.append(play.number)
        (pod,) = play.pods()
        pod.running()
        pod.log(*work.lines)
        if work.held:
            assert self._gates[play.number].wait(30)
        pod.log(*work.last_lines)
        pod.exit(work.exit_code)
        if work.exit_code:
            play.condition("Failed", "BackoffLimitExceeded", "Job has reached the backoff limit")
        else:
            play.condition("Complete", "CompletionsReached")

    def release(self, number: int) -> None:
        self._gates[number].set()

    def executions(self, number: int) -> int:
        return self._begun.count(number)

    def is_alive(self, number: int) -> bool:
        prefix = f"{EXPERIMENT}-{RUN}-{number}-"
        return any(
            pod["status"]["phase"] not in ("Succeeded", "Failed")
            for name, pod in list(self.server.objects["pods"].items())
            if name.startswith(prefix)
        )


def notices(watch: Watch) -> list[str]:
    return [event.text for event in watch.events if isinstance(event, Notice)]


def replicas(pods: Sequence[Any]) -> dict[str, Any]:
    """Returns the pods by the last words of their names, such as ``worker-0``."""
    return {"-".join(pod.name.rsplit("-", 2)[1:]): pod for pod in pods}


def with_limits(job: TrialJob, limits: Limits) -> TrialJob:
    return replace(job, limits=limits)
