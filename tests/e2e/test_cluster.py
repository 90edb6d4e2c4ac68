"""Runs against a real cluster and a real Kubeflow Pipelines; off by default.

    KATIBFLOW_E2E_HOST=http://localhost:8080 pytest -m cluster tests/e2e

The kubeconfig's current context is the cluster; ``KATIBFLOW_E2E_NAMESPACE`` the namespace of the
trials (kubeflow), ``KATIBFLOW_E2E_IMAGE`` an image with a shell (busybox:1.36). A PyTorchJob needs
the Training Operator.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from katibflow.compiler.library import pack_library
from katibflow.experiment.timeouts import Limits
from katibflow.experiment.types import TrialTemplate
from katibflow.runners.base import JobState, TrialJob
from katibflow.runners.events import Notice
from katibflow.runners.kubernetes.runner import KubernetesRunner, connect
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import TrialState
from katibflow.study.resume import run_name
from tests.behaviour.runner_contract import Watch, trial
from tests.doubles.kubernetes.lab import batch_job, container, pod_template, pytorch_job
from tests.paths import ROOT

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("KATIBFLOW_E2E_HOST" not in os.environ, reason="no KATIBFLOW_E2E_HOST"),
]

NAMESPACE = os.environ.get("KATIBFLOW_E2E_NAMESPACE", "kubeflow")
IMAGE = os.environ.get("KATIBFLOW_E2E_IMAGE", "busybox:1.36")
EXAMPLE = ROOT / "examples" / "mnist.yaml"
EXPERIMENT = "katibflow-e2e"
LIMITS = Limits(trial=300, start=120)
PATIENCE = 360.0


def shell(script: str) -> dict[str, Any]:
    main = container("main", image=IMAGE, command=["sh", "-c", script])
    return pod_template(main, restartPolicy="Never")


class Cluster:
    """A run of its own in the cluster, with its objects deleted afterwards."""

    def __init__(self) -> None:
        self.run = secrets.token_hex(4)
        self.api = connect(NAMESPACE)
        self.paths: set[str] = set()

    def runner(self, manifest: dict[str, Any]) -> KubernetesRunner:
        kind = {"batch/v1": "jobs", "kubeflow.org/v1": "pytorchjobs"}[manifest["apiVersion"]]
        self.paths.add(self.api.path(manifest["apiVersion"], kind))
        template = {"primaryContainerName": "main", "trialSpec": manifest}
        return KubernetesRunner(
            connect(NAMESPACE),
            experiment=EXPERIMENT,
            run=self.run,
            template=TrialTemplate.model_validate(template),
        )

    def job(self, manifest: dict[str, Any], limits: Limits = LIMITS) -> TrialJob:
        made = trial(0, job=f"{EXPERIMENT}-{self.run}-0")
        return TrialJob(made, manifest, "main", limits)

    def clean(self) -> None:
        for path in self.paths:
            for page in self.api.pages(path, {"labelSelector": f"katibflow/run={self.run}"}):
                for item in page["items"]:
                    name = item["metadata"]["name"]
                    self.api.request("DELETE", f"{path}/{name}", body={})


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.clean()


@pytest.mark.parametrize("make", [batch_job, pytorch_job], ids=["Job", "PyTorchJob"])
def test_a_trial_runs_is_adopted_and_recorded(cluster: Cluster, make: Any) -> None:
    manifest = make(shell("for i in 1 2 3; do echo loss=0.$i; sleep 1; done"))
    job = cluster.job(manifest)
    for _ in range(2):
        watch = Watch()
        outcome = cluster.runner(manifest).run(job, watch, StopRequest())
        assert outcome.state is JobState.SUCCEEDED, outcome
        assert watch.lines == ["loss=0.1", "loss=0.2", "loss=0.3"]
    finished = trial(0, TrialState.COMPLETE, job=job.trial.job)
    runner = cluster.runner(manifest)
    runner.record(finished)
    assert runner.records() == (finished,)


@pytest.mark.parametrize("make", [batch_job, pytorch_job], ids=["Job", "PyTorchJob"])
def test_a_stop_leaves_no_pod(cluster: Cluster, make: Any) -> None:
    manifest = make(shell("echo begun; sleep 600"))
    watch, stop = Watch(), StopRequest()
    with ThreadPoolExecutor() as pool:
        future = pool.submit(cluster.runner(manifest).run, cluster.job(manifest), watch, stop)
        with watch._changed:
            assert watch._changed.wait_for(lambda: "begun" in watch.lines, PATIENCE)
        stop.set("enough")
        assert future.result(PATIENCE).state is JobState.STOPPED
    pods = cluster.api.path("v1", "pods")
    query = {"labelSelector": f"katibflow/run={cluster.run}"}
    assert cluster.api.request("GET", pods, query)["items"] == []


def test_an_image_that_is_not_there_is_named(cluster: Cluster) -> None:
    manifest = batch_job(pod_template(container("main", image="nowhere.invalid/none:1")))
    manifest["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    watch = Watch()
    job = cluster.job(manifest, Limits(start=45))
    outcome = cluster.runner(manifest).run(job, watch, StopRequest())
    assert outcome.reason in ("ErrImagePull", "ImagePullBackOff")
    assert any("nowhere.invalid" in e.text for e in watch.events if isinstance(e, Notice))


@pytest.mark.parametrize("layout", ["rounds", "controller"])
def test_the_compiled_example_runs_in_kubeflow_pipelines_and_a_later_run_resumes_it(
    cluster: Cluster, tmp_path: Path, layout: str
) -> None:
    import kfp

    package = tmp_path / "mnist.yaml"
    command = [sys.executable, "-m", "katibflow", "compile", str(EXAMPLE), "--layout", layout]
    subprocess.run([*command, "-o", str(package)], check=True)
    client = kfp.Client(host=os.environ["KATIBFLOW_E2E_HOST"], namespace=NAMESPACE)
    name = f"e2e-{secrets.token_hex(4)}"

    def run(most: int, **arguments: str) -> str:
        started = client.create_run_from_pipeline_package(
            str(package),
            arguments={"name": name, "maxTrialCount": str(most), **arguments},
            run_name=f"{name}-{most}",
        )
        ended = client.wait_for_run_completion(started.run_id, timeout=3600)
        assert ended.state == "SUCCEEDED", ended
        return str(started.run_id)

    def trials(run: str) -> list[Any]:
        query = {"labelSelector": f"katibflow/experiment={name},katibflow/run={run_name(run)}"}
        jobs = cluster.api.path("kubeflow.org/v1", "pytorchjobs")
        return [item for page in cluster.api.pages(jobs, query) for item in page["items"]]

    first = run(4, maxFailedTrialCount="none")
    # Argo keeps a run in 1 MB: nothing in it may be there many times.
    workflows = cluster.api.path("argoproj.io/v1alpha1", "workflows")
    (page,) = cluster.api.pages(workflows, {"labelSelector": f"pipeline/runid={first}"})
    assert json.dumps(page["items"]).count(pack_library().text) == 1
    second = run(6, maxFailedTrialCount="none", resume=first)
    assert [len(trials(run)) for run in (first, second)] == [4, 2]
    for job in trials(first) + trials(second):
        assert job["metadata"]["labels"]["katibflow/state"] == "COMPLETE"
        path = cluster.api.path("kubeflow.org/v1", "pytorchjobs", job["metadata"]["name"])
        cluster.api.request("DELETE", path, body={})


@pytest.mark.parametrize("layout", ["rounds", "controller"])
def test_the_command_line_submits_follows_and_looks_after_runs(
    cluster: Cluster, layout: str
) -> None:
    name = f"e2e-{secrets.token_hex(4)}"
    to = ("--host", os.environ["KATIBFLOW_E2E_HOST"])

    def katibflow(*words: str) -> str:
        command = [sys.executable, "-m", "katibflow", *words, *to]
        done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    submit = ("submit", str(EXAMPLE), "--name", name, "--layout", layout)
    told = katibflow(*submit, "--max-trials", "2", "--max-failed-trials", "none")
    assert "ExperimentMaxTrialsReached: 2 trials ended, maxTrialCount is 2" in told
    assert "trial 1 complete" in told
    (run,) = (line.split()[0] for line in katibflow("list").splitlines() if f"{name}-" in line)
    assert set(json.loads(katibflow("best", run, "--json"))["assignments"]) == {
        "lr",
        "momentum",
        "batchSize",
    }
    assert "loss=" in katibflow("logs", run, "0")
    assert f"==> {'controller' if layout == 'controller' else 'launcher'} <==" in katibflow(
        "logs", run
    )
    endless = json.loads(katibflow(*submit, "--resume", "all", "--no-wait", "--json"))["run"]
    katibflow("stop", endless)
    query = {"labelSelector": f"katibflow/experiment={name}"}
    jobs = cluster.api.path("kubeflow.org/v1", "pytorchjobs")
    for page in cluster.api.pages(jobs, query):
        for item in page["items"]:
            cluster.api.request("DELETE", f"{jobs}/{item['metadata']['name']}", body={})


def test_a_schedule_is_taken_by_the_server(tmp_path: Path) -> None:
    import kfp

    name = f"e2e-{secrets.token_hex(4)}"
    host = os.environ["KATIBFLOW_E2E_HOST"]
    command = [sys.executable, "-m", "katibflow", "submit", str(EXAMPLE), "--host", host]
    words = ("--name", name, "--schedule", "0 3 1 1 *", "--json")
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)["recurringRun"]
    client = kfp.Client(host=host, namespace=NAMESPACE)
    try:
        kept = client.get_recurring_run(made)
        assert kept.trigger.cron_schedule.cron == "0 0 3 1 1 *"
        assert kept.runtime_config.parameters["resume"] == "none"
    finally:
        client.delete_recurring_run(made)


def test_an_experiment_in_another_pipeline_hands_its_best_parameters_on(
    cluster: Cluster, tmp_path: Path
) -> None:
    import kfp

    package = tmp_path / "pipeline.yaml"
    script = EXAMPLE.with_name("tune_train_evaluate.py")
    subprocess.run([sys.executable, str(script), str(package)], check=True)
    client = kfp.Client(host=os.environ["KATIBFLOW_E2E_HOST"], namespace=NAMESPACE)
    started = client.create_run_from_pipeline_package(str(package), arguments={"trials": "4"})
    ended = client.wait_for_run_completion(started.run_id, timeout=3600)
    assert ended.state == "SUCCEEDED", ended
    own = f"katibflow/experiment=mnist,katibflow/run={run_name(str(started.run_id))}"
    jobs = cluster.api.path("kubeflow.org/v1", "pytorchjobs")
    made = [
        item for page in cluster.api.pages(jobs, {"labelSelector": own}) for item in page["items"]
    ]
    assert len(made) == 4
    for job in made:
        cluster.api.request("DELETE", f"{jobs}/{job['metadata']['name']}", body={})
