"""Tests what a trial waits for, and which pods end it, for each kind of several pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from katibflow.experiment.job_kinds import kind_of
from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.causes import Reason
from katibflow.runners.kubernetes.conditions import Conditions
from katibflow.runners.kubernetes.inbox import FOREVER
from katibflow.runners.kubernetes.job_object import Shape
from katibflow.runners.kubernetes.pods import Container, Pod
from katibflow.runners.kubernetes.seen import Seen, Terms
from katibflow.runners.kubernetes.verdict import Standing, Verdict, judge, judged

BODY: Mapping[str, Any] = {"metadata": {"name": "job"}, "spec": {}}
JOBSET = "jobset.sigs.k8s.io/replicatedjob-name"
INDEX = "batch.kubernetes.io/job-completion-index"
SUBMITTER = {"batch.kubernetes.io/job-name": "job"}
RUNNING = Container("main", state="running")
DONE = Container("main", state="terminated", reason="Completed", exit_code=0)
CRASHED = Container(
    "main", state="waiting", reason="CrashLoopBackOff", restarts=3, last_exit_code=1
)
SIDECAR = Container("istio-proxy", state="running")


def terms(api_version: str, kind: str, labels: Any = None, **spec: Any) -> Terms:
    manifest = {"apiVersion": api_version, "kind": kind, "spec": spec}
    known = kind_of(manifest)
    return Terms(
        "job",
        known,
        Shape.of(manifest),
        Conditions(known.success_condition or "status.done", known.failure_condition or "x"),
        known.primary_pod_labels if labels is None else labels,
        "main",
        Limits(start=75.0),
    )


def replicas(**names: int) -> dict[str, Any]:
    pod = {"spec": {"containers": [{"name": "main"}]}}
    return {name: {"replicas": count, "template": pod} for name, count in names.items()}


TRAIN_JOB = terms("trainer.kubeflow.org/v1alpha1", "TrainJob")
RAY_JOB = terms("ray.io/v1", "RayJob")
WORKFLOW = terms("argoproj.io/v1alpha1", "Workflow", {"step": "train"})
UNKNOWN = terms("tekton.dev/v1", "PipelineRun", {"task": "train"})
MPI_JOB = terms("kubeflow.org/v2beta1", "MPIJob", mpiReplicaSpecs=replicas(Launcher=1, Worker=2))


def pod(name: str, *containers: Container, phase: str = "Running", **labels: str) -> Pod:
    return Pod(name, uid=name, phase=phase, labels=labels, containers=containers)


def node(index: int, *containers: Container) -> Pod:
    return pod(f"job-node-0-{index}", *containers, **{JOBSET: "node", INDEX: str(index)})


def at(now: float, of: Terms, *pods: Pod, body: Mapping[str, Any] = BODY) -> Verdict:
    """The verdict some seconds after the pods were first seen as they are."""
    seen = Seen(body)
    for each in pods:
        seen = seen.with_pod(of, each)
    seen = judged(seen, judge(of, seen, None, 0.0))
    return judge(of, seen, None, now)


INITIALIZER = pod(
    "job-init", Container("dataset-initializer", state="running"), **{JOBSET: "init", INDEX: "0"}
)
HEAD = pod("job-head", Container("ray-head", state="running"))
WORKER = pod("job-worker", Container("ray-worker", state="running"))
STEP = pod("job-prepare", RUNNING, step="prepare")


@pytest.mark.parametrize(
    ("of", "other", "missing"),
    [
        (TRAIN_JOB, INITIALIZER, f"label {JOBSET}=node, label {INDEX}=0, container main"),
        (RAY_JOB, HEAD, "container main"),
    ],
)
def test_the_start_limit_is_met_by_the_pod_that_does_the_work(
    of: Terms, other: Pod, missing: str
) -> None:
    assert at(74.0, of, other).state is None
    verdict = at(75.0, of, other)
    assert (verdict.standing, verdict.reason) == (Standing.LATE, Reason.PODS_MISSING)
    assert verdict.message == (
        "not started within 75 s: PodsMissing: the pod that does the trial's work is not there "
        f"({missing}); the pods of job are {other.name}"
    )


def test_a_late_trial_says_what_holds_it_and_what_is_missing() -> None:
    pulling = Container("ray-head", state="waiting", reason="ImagePullBackOff", message="no image")
    verdict = at(75.0, RAY_JOB, replace(HEAD, phase="Pending", containers=(pulling,)))
    assert (verdict.standing, verdict.reason) == (Standing.LATE, "ImagePullBackOff")
    assert "no image; the pod that does the trial's work is not there" in verdict.message


def test_a_ray_job_without_a_submitter_s_pod_works_once_ray_says_so() -> None:
    running = {**BODY, "status": {"jobStatus": "RUNNING", "jobDeploymentStatus": "Running"}}
    assert at(1000.0, RAY_JOB, HEAD, body=running).state is None


@pytest.mark.parametrize("of", [WORKFLOW, UNKNOWN])
def test_a_step_before_the_training_takes_its_time(of: Terms) -> None:
    verdict = at(1000.0, of, STEP)
    assert (verdict.standing, verdict.until) == (Standing.RUNNING, FOREVER)


@pytest.mark.parametrize("of", [WORKFLOW, UNKNOWN])
@pytest.mark.parametrize("step", ["prepare", "train"])
def test_a_step_that_outlives_its_main_container_is_no_end(of: Terms, step: str) -> None:
    held = pod(f"job-{step}", DONE, SIDECAR, step=step, task=step)
    assert at(1000.0, of, held).state is None


def test_an_initializer_that_a_sidecar_keeps_alive_is_no_end_but_no_start_either() -> None:
    done = Container("dataset-initializer", state="terminated", exit_code=0)
    held = replace(INITIALIZER, containers=(done, SIDECAR))
    assert at(31.0, TRAIN_JOB, held).standing is Standing.STUCK
    verdict = at(75.0, TRAIN_JOB, held)
    assert (verdict.standing, verdict.state) == (Standing.LATE, JobState.FAILED)
    assert verdict.reason == Reason.SIDECAR_KEEPS_POD_ALIVE
    assert at(75.0, TRAIN_JOB, held, node(0, RUNNING)).state is None


def test_a_node_that_only_a_sidecar_keeps_alive_ends_a_train_job_well() -> None:
    held = node(0, DONE, SIDECAR)
    assert at(29.0, TRAIN_JOB, held).state is None
    verdict = at(30.0, TRAIN_JOB, INITIALIZER, held)
    assert (verdict.standing, verdict.state) == (Standing.HELD_OPEN, JobState.SUCCEEDED)


@pytest.mark.parametrize(
    ("of", "worker", "other"),
    [
        (RAY_JOB, pod("job-x", RUNNING, **SUBMITTER), replace(WORKER, containers=(CRASHED,))),
        (WORKFLOW, pod("job-train", RUNNING, step="train"), replace(STEP, containers=(CRASHED,))),
        (TRAIN_JOB, node(0, RUNNING), replace(INITIALIZER, containers=(CRASHED,))),
        (TRAIN_JOB, node(0, RUNNING), node(1, CRASHED)),
    ],
)
def test_a_pod_beside_the_work_ends_nothing(of: Terms, worker: Pod, other: Pod) -> None:
    if of is RAY_JOB:
        other = replace(other, containers=(replace(CRASHED, name="ray-worker"),))
    assert at(70.0, of, worker, other).state is None
    failed = replace(other, phase="Failed", containers=(replace(DONE, exit_code=1),))
    assert at(1000.0, of, worker, failed).state is None


def test_a_ray_worker_that_finds_no_node_ends_nothing_once_the_work_has_begun() -> None:
    waiting = replace(WORKER, phase="Pending", unscheduled=("Unschedulable", "no cpu"))
    assert at(1000.0, RAY_JOB, pod("job-x", RUNNING, **SUBMITTER), waiting).state is None
    assert at(75.0, RAY_JOB, HEAD, waiting).standing is Standing.LATE


def test_another_node_of_a_train_job_has_to_start_in_time() -> None:
    waiting = replace(
        node(1, Container("main")), phase="Pending", unscheduled=("Unschedulable", "x")
    )
    assert at(75.0, TRAIN_JOB, node(0, RUNNING), waiting).standing is Standing.LATE


def launcher(*containers: Container, phase: str = "Running") -> Pod:
    return pod("job-launcher-1", *containers, phase=phase, **{"katibflow/replica": "launcher"})


def worker(index: int, *containers: Container) -> Pod:
    return pod(f"job-worker-{index}", *containers, **{"katibflow/replica": "worker"})


@pytest.mark.parametrize(("crashes", "state"), [(1, None), (6, None), (7, JobState.FAILED)])
def test_an_mpi_launcher_may_crash_until_the_workers_answer(
    crashes: int, state: JobState | None
) -> None:
    """The operator runs it as a Job, whose backoffLimit is 6 if the file gives none."""
    crashed = replace(CRASHED, restarts=crashes)
    pods = [replace(launcher(crashed)), worker(0, RUNNING), worker(1, RUNNING)]
    assert at(0.0, MPI_JOB, *[replace(each) for each in pods]).state is state


def test_an_mpi_launcher_s_failed_pod_is_replaced_in_the_job_s_own_time() -> None:
    failed = launcher(replace(DONE, exit_code=1, reason="Error"), phase="Failed")
    assert at(1000.0, MPI_JOB, failed, worker(0, RUNNING), worker(1, RUNNING)).state is None


def test_an_mpi_job_s_own_backoff_limit_counts() -> None:
    few = replace(MPI_JOB, shape=replace(MPI_JOB.shape, allowed_restarts=2))
    pods = (launcher(CRASHED), worker(0, RUNNING), worker(1, RUNNING))
    assert at(0.0, few, *pods).reason == Reason.CRASH_LOOP
    more = replace(MPI_JOB, shape=replace(MPI_JOB.shape, allowed_restarts=3))
    assert at(0.0, more, *pods).state is None


def test_a_crashing_mpi_worker_is_still_hopeless() -> None:
    assert at(0.0, MPI_JOB, launcher(RUNNING), worker(0, CRASHED)).reason == Reason.CRASH_LOOP
