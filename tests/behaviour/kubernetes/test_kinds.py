"""Tests kinds of jobs whose pods are not found by the labels of their templates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from katibflow.experiment import job_kinds
from katibflow.experiment.types import Experiment
from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.rbac import role
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import TrialState
from katibflow.study.job_name import job_name
from tests.behaviour.runner_contract import Watch, trial
from tests.doubles.kubernetes.lab import FAST, Lab, container, pod_template
from tests.doubles.kubernetes.plays import REPLICAS, JobPlay, PodPlay, Script
from tests.samples import changed

NAME = "contract-0a1b2c3d-0"
POD = pod_template(restartPolicy="Never")

TRAIN_JOB = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainJob",
    "spec": {"runtimeRef": {"name": "torch-distributed"}},
}
RAY_JOB = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "spec": {
        "entrypoint": "python train.py",
        "rayClusterSpec": {
            "headGroupSpec": {"template": pod_template(container("ray-head"))},
            "workerGroupSpecs": [{"template": pod_template(container("ray-worker"))}],
        },
    },
}
WORKFLOW = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Workflow",
    "spec": {"templates": [{"name": "train", "container": container()}]},
}
UNKNOWN = {"apiVersion": "example.com/v1", "kind": "Spark", "spec": {"driver": {"image": "none"}}}


def train_job(play: JobPlay) -> None:
    jobset = "jobset.sigs.k8s.io"
    for name, index in (("dataset-initializer", "0"), ("node", "1"), ("node", "0")):
        labels = {
            f"{jobset}/jobset-name": play.name,
            f"{jobset}/replicatedjob-name": name,
            "batch.kubernetes.io/job-completion-index": index,
        }
        pod = play.pod(POD, name, int(index), labels=labels)
        pod.running()
        pod.log(f"{name}-{index}")
        pod.exit()
    play.condition("Complete", "JobsCompleted")


def ray_job(play: JobPlay) -> None:
    cluster = play.body["spec"]["rayClusterSpec"]
    head = play.pod(cluster["headGroupSpec"]["template"], "head", 0)
    head.running()
    head.log("head")
    submitter = pod_template(container("main"))
    pod = play.pod(submitter, "sub", 0, labels={"batch.kubernetes.io/job-name": play.name})
    pod.running()
    pod.log("driver")
    pod.exit()
    head.delete()
    play.status(jobStatus="SUCCEEDED", jobDeploymentStatus="Complete")


def workflow(play: JobPlay) -> None:
    template = POD | {"metadata": play.body["spec"]["podMetadata"]}
    pod = play.pod(template, "train", 0, labels={"role": "training"})
    pod.running()
    pod.log("loss=0.1")
    pod.exit()
    play.status(phase="Succeeded", message="done")


def unknown(play: JobPlay) -> None:
    for index, kind in enumerate(("executor", "driver")):
        pod = play.pod(POD, kind, index, labels={"spark-role": kind})
        pod.running()
        pod.log(kind)
        pod.exit()
    play.status(phase="Succeeded")


GIVEN = {
    "successCondition": 'status.[@this].#(phase=="Succeeded")#',
    "failureCondition": 'status.[@this].#(phase=="Failed")#',
}


@pytest.mark.parametrize(
    ("manifest", "given", "script", "lines"),
    [
        (TRAIN_JOB, {}, train_job, ["node-0"]),
        (RAY_JOB, {}, ray_job, ["driver"]),
        (WORKFLOW, {"primaryPodLabels": {"role": "training"}}, workflow, ["loss=0.1"]),
        (UNKNOWN, GIVEN | {"primaryPodLabels": {"spark-role": "driver"}}, unknown, ["driver"]),
    ],
    ids=["TrainJob", "RayJob", "Workflow", "unknown"],
)
def test_a_kind_is_followed_with_the_least_role(
    lab: Lab, manifest: dict[str, Any], given: dict[str, Any], script: Script, lines: list[str]
) -> None:
    lab.server.rules = role([job_kinds.kind_of(manifest)], "test")["rules"]
    lab.template_of(manifest, **given)
    outcome, watch = lab.run(script)
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == lines
    runner = lab.runner()
    runner.record(trial(0, TrialState.COMPLETE))
    assert runner.records() == (trial(0, TrialState.COMPLETE),)


@pytest.mark.parametrize(
    ("manifest", "script", "lines"),
    [
        (
            {**TRAIN_JOB, "spec": {**TRAIN_JOB["spec"], "initializer": {"dataset": {}}}},
            train_job,
            ["node-0"],
        ),
        (RAY_JOB, ray_job, ["driver"]),
    ],
    ids=["TrainJob", "RayJob"],
)
@pytest.mark.parametrize("number", [0, 10_000])
def test_the_pods_of_a_shortened_name_are_found(
    lab: Lab, manifest: dict[str, Any], script: Script, lines: list[str], number: int
) -> None:
    name, run = "an-experiment-of-a-name-that-is-too-long", "0a1b2c3d"
    template = {"primaryContainerName": "main", "trialSpec": manifest}
    made = Experiment.model_validate(
        changed({"metadata.name": name, "spec.trialTemplate": template})
    )
    job = job_name(made, run, number)
    assert len(job) <= job_kinds.name_limit(manifest) < len(f"{name}-{run}-{number}")
    lab.template_of(manifest)
    lab.server.rules, lab.server.script = None, script
    runner, watch = lab.runner(experiment=name), Watch()
    begun = lab.trial_job(number)
    outcome = runner.run(replace(begun, trial=replace(begun.trial, job=job)), watch, StopRequest())
    assert (outcome.state, watch.lines) == (JobState.SUCCEEDED, lines)


def test_a_kind_that_cannot_be_suspended_is_deleted_to_stop_it(lab: Lab) -> None:
    lab.server.rules = None
    lab.template_of(UNKNOWN, **GIVEN, primaryPodLabels={"spark-role": "driver"})

    def script(play: JobPlay) -> None:
        pod = play.pod(POD, "driver", 0, labels={"spark-role": "driver"})
        pod.running()
        pod.log("begun")

    future, watch, stop = lab.begin(script)
    watch.wait_for_line("begun")
    stop.set("enough")
    assert future.result(10).state is JobState.STOPPED
    assert lab.pods() == []
    assert not lab.server.objects["sparks"]


def test_a_ray_job_is_made_so_that_it_can_be_suspended(lab: Lab) -> None:
    lab.server.rules = None
    lab.template_of(RAY_JOB)
    lab.run(ray_job)
    assert lab.object()["spec"]["shutdownAfterJobFinishes"] is True


@pytest.mark.parametrize(
    ("manifest", "given"),
    [
        ({"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": POD}}, {}),
        (
            {
                "apiVersion": "kubeflow.org/v1",
                "kind": "PyTorchJob",
                "spec": {"pytorchReplicaSpecs": {"Master": {"template": POD}}},
            },
            {},
        ),
        (UNKNOWN, GIVEN),
    ],
    ids=["Job", "PyTorchJob", "unknown"],
)
def test_all_the_runner_does_is_all_its_role_allows(
    lab: Lab, manifest: dict[str, Any], given: dict[str, Any]
) -> None:
    """Runs everything the runner does against a server that refuses what the Role leaves out."""
    kind = job_kinds.kind_of(manifest)
    lab.server.rules = rules = role([kind], "test")["rules"]
    labels = {"spark-role": "driver"} if manifest is UNKNOWN else {}
    lab.template_of(manifest, primaryPodLabels=labels, **given)

    def pod_of(play: JobPlay) -> PodPlay:
        known = play.plural in ("jobs", *REPLICAS)
        driver = {"spark-role": "driver"}
        (pod,) = play.pods() if known else [play.pod(POD, "driver", 0, labels=driver)]
        return pod

    def stuck(play: JobPlay) -> None:
        pod = pod_of(play)
        pod.running()
        pod.log("begun")

    lab.server.can_suspend = False
    runner = lab.runner(replace(FAST, stop=0.3))
    future, watch, stop = lab.begin(stuck, runner=runner)
    watch.wait_for_line("begun")
    stop.set("first try")
    future.result(10)
    lab.server.create("pods", {"metadata": {"name": f"{NAME}-left", "labels": labels}, "spec": {}})
    future, again, stop = lab.begin(stuck, runner=runner)  # created anew
    again.wait_for_line("begun")
    adopted, third, _ = lab.begin(runner=lab.runner())
    third.wait_for_line("begun")
    runner.sweep((), "over")
    assert {future.result(10).state, adopted.result(10).state} <= {
        JobState.STOPPED,
        JobState.FAILED,  # where stopping means deleting
    }
    unexplained, _, stop = lab.begin(
        lambda play: pod_of(play).waiting("ContainerCreating"), 8, runner
    )
    with lab.server.changed:
        assert lab.server.changed.wait_for(lambda: lab.server.count("watch", "events"), 10)
    stop.set("seen")
    unexplained.result(10)
    if kind.stop is None:
        _, watch, stop = lab.begin(stuck, 1, runner)
        watch.wait_for_line("begun")
        runner.record(trial(1, TrialState.COMPLETE))
        stop.set("done")
    else:
        runner.record(trial(0, TrialState.COMPLETE))
        runner.record(trial(7))
    runner.records()
    # A thread of the runner's own deletes them, beside whatever comes next.
    lab.server.wait_for(lambda: lab.server.count("deletecollection", "pods"))
    used = {(r.resource, r.verb) for r in lab.server.requests}
    allowed = {(name, verb) for r in rules for name in r["resources"] for verb in r["verbs"]}
    asked = {("configmaps", "list")}  # where records may be besides; a refusal is no error
    assert used - asked == allowed
