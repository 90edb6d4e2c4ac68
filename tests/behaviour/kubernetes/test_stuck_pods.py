"""Tests that stuck or broken pods are reported, and ended if hopeless; one test for each cause."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState
from katibflow.runners.events import LogLine
from katibflow.runners.kubernetes.api import Timing
from tests.doubles.kubernetes.lab import (
    FAST,
    SOON,
    Lab,
    batch_job,
    container,
    notices,
    pod_template,
    pytorch_job,
    replicas,
)
from tests.doubles.kubernetes.plays import JobPlay

TWO = [container("main"), container("istio-proxy")]
WITH_LIMIT = container("main", resources={"limits": {"memory": "512Mi"}})


def test_the_real_waits_name_everything_within_60_seconds() -> None:
    timing = Timing()
    assert timing.notice < 60 and timing.settle <= 60 and timing.grace < 60


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_an_image_pull_is_shown_and_waits_for_the_start_limit(lab: Lab, reason: str) -> None:
    outcome, watch = lab.run(
        lambda play: play.pods()[0].waiting(reason, "pull access denied for nope"), SOON
    )
    assert (outcome.state, outcome.reason) == (JobState.FAILED, reason)
    assert "pull access denied for nope" in outcome.message
    assert "not started within 0.6 s" in outcome.message
    assert "pod contract-0a1b2c3d-0-job-0, container main" in outcome.message
    assert any(reason in text and "waits up to 0.6 s" in text for text in notices(watch))
    assert not lab.is_alive(0)


def test_an_image_pull_that_heals_goes_on(lab: Lab) -> None:
    seen = threading.Event()

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.waiting("ErrImagePull", "try again")
        assert seen.wait(10)
        pod.waiting("ImagePullBackOff", "back-off")
        pod.running()
        pod.exit()
        play.condition("Complete")

    future, watch, _ = lab.begin(script, limits=Limits(start=5))
    watch.wait_for(lambda: any("try again" in text for text in notices(watch)))
    seen.set()
    assert future.result(10).state is JobState.SUCCEEDED


def test_an_unschedulable_worker_is_named_with_the_schedulers_words(lab: Lab) -> None:
    lab.template_of(pytorch_job())

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        pods["master-0"].running()
        pods["worker-0"].unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")

    outcome, watch = lab.run(script, SOON)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "Unschedulable")
    assert "worker-0: Unschedulable: 0/3 nodes are available: 3 Insufficient" in outcome.message
    assert any("0/3 nodes are available" in text for text in notices(watch))
    assert not lab.is_alive(0)


def test_an_unschedulable_pod_that_finds_a_node_goes_on(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.unschedulable("0/3 nodes are available")
        pod.scheduled()
        pod.running()
        pod.exit()
        play.condition("Complete")

    outcome, _ = lab.run(script, Limits(start=5))
    assert outcome.state is JobState.SUCCEEDED


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_can_never_be_had_ends_the_trial_at_once(lab: Lab, reason: str) -> None:
    outcome, _ = lab.run(lambda play: play.pods()[0].waiting(reason, "no such thing"))
    assert (outcome.state, outcome.reason) == (JobState.FAILED, reason)
    assert "no such thing" in outcome.message


@pytest.mark.parametrize("reason", ["CreateContainerConfigError", "CreateContainerError"])
def test_a_wrong_configuration_has_a_minute_to_heal(lab: Lab, reason: str) -> None:
    outcome, watch = lab.run(
        lambda play: play.pods()[0].waiting(reason, 'secret "registry" not found')
    )
    assert (outcome.state, outcome.reason) == (JobState.FAILED, reason)
    assert 'secret "registry" not found' in outcome.message
    assert any(reason in text for text in notices(watch))


def test_a_configuration_that_heals_goes_on(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.waiting("CreateContainerConfigError", 'configmap "late" not found')
        pod.running()
        pod.exit()
        play.condition("Complete")

    outcome, _ = lab.run(script, timing=replace(FAST, settle=5))
    assert outcome.state is JobState.SUCCEEDED


def test_a_crash_loop_ends_the_trial_with_the_last_lines(lab: Lab) -> None:
    lab.template_of(pytorch_job())

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        pods["master-0"].running()
        worker = pods["worker-0"]
        worker.running()
        worker.log("ModuleNotFoundError: No module named 'nope'")
        worker.terminated(1)
        worker.running()
        worker.log("ModuleNotFoundError: No module named 'nope', again")
        worker.terminated(1)
        worker.waiting("CrashLoopBackOff", "back-off 10s restarting failed container")

    outcome, _ = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "CrashLoopBackOff")
    assert "worker-0, container main" in outcome.message
    assert "exit code 1" in outcome.message
    assert "No module named 'nope', again" in outcome.message
    assert not lab.is_alive(0)


def test_a_crash_loop_within_the_templates_backoff_limit_is_shown_only(lab: Lab) -> None:
    lab.template_of(batch_job(pod_template(restartPolicy="OnFailure"), backoffLimit=3))

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.terminated(1)
        pod.waiting("CrashLoopBackOff", "back-off 10s")
        pod.running()
        pod.exit()
        play.condition("Complete")

    outcome, watch = lab.run(script)
    assert outcome.state is JobState.SUCCEEDED
    assert any("crashed 1 times" in text for text in notices(watch))


def test_a_crash_looping_sidecar_is_named(lab: Lab) -> None:
    lab.template_of(batch_job(pod_template(*TWO, restartPolicy="OnFailure")))

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.running("istio-proxy")
        pod.terminated(2, container="istio-proxy")
        pod.waiting("CrashLoopBackOff", "back-off", container="istio-proxy")

    outcome, _ = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "CrashLoopBackOff")
    assert "container istio-proxy" in outcome.message


def test_out_of_memory_is_named_with_the_limit(lab: Lab) -> None:
    lab.template_of(pytorch_job(pod_template(WITH_LIMIT, restartPolicy="OnFailure")))

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        pods["master-0"].running()
        pods["worker-0"].running()
        pods["worker-0"].log("loading everything")
        pods["worker-0"].terminated(137, "OOMKilled")
        pods["worker-0"].running()

    outcome, _ = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "OOMKilled")
    assert "512Mi" in outcome.message
    assert "worker-0, container main" in outcome.message
    assert "loading everything" in outcome.message


def test_out_of_memory_says_more_than_the_jobs_own_reason(lab: Lab) -> None:
    lab.template_of(batch_job(pod_template(WITH_LIMIT, restartPolicy="Never")))

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("step 1")
        pod.terminated(137, "OOMKilled", phase="Failed")
        play.condition("Failed", "BackoffLimitExceeded", "Job has reached the backoff limit")

    outcome, _ = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "OOMKilled")
    assert "backoff limit" in outcome.message and "512Mi" in outcome.message
    assert "step 1" in outcome.message


def test_an_evicted_replica_is_named(lab: Lab) -> None:
    lab.template_of(pytorch_job())

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        pods["master-0"].running()
        pods["worker-0"].running()
        pods["worker-0"].evicted("The node was low on resource: memory.")

    outcome, watch = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "Evicted")
    assert "worker-0" in outcome.message and "low on resource: memory" in outcome.message
    assert any("Evicted" in text for text in notices(watch))
    assert not lab.is_alive(0)


def test_an_evicted_pod_that_its_job_replaces_goes_on(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("loss=0.9")
        pod.evicted("low on memory")
        second = play.pod(play.body["spec"]["template"], "job", 0, suffix="-b")
        second.running()
        second.log("loss=0.8")
        second.exit()
        play.condition("Complete")

    outcome, watch = lab.run(script)
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["loss=0.9", "loss=0.8"]
    assert any("Evicted: low on memory" in text for text in notices(watch))


def test_an_init_container_that_never_ends_is_named(lab: Lab) -> None:
    template = pod_template(initContainers=[container("init-pytorch")])
    lab.template_of(pytorch_job(template))

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        pods["master-0"].running("init-pytorch")
        pods["master-0"].terminated(0, container="init-pytorch")
        pods["master-0"].running()
        pods["worker-0"].running("init-pytorch", phase="Pending")

    outcome, watch = lab.run(script, SOON)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "InitContainerRunning")
    assert "worker-0, container init-pytorch" in outcome.message
    assert any("init-pytorch" in text for text in notices(watch))


def test_a_failing_init_container_is_named(lab: Lab) -> None:
    lab.template_of(batch_job(pod_template(initContainers=[container("fetch")])))

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running("fetch", phase="Pending")
        pod.log("no such bucket", container="fetch")
        pod.terminated(4, container="fetch")
        pod.waiting("CrashLoopBackOff", "back-off", container="fetch")

    outcome, _ = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "CrashLoopBackOff")
    assert "container fetch" in outcome.message and "exit code 4" in outcome.message
    assert "no such bucket" in outcome.message


def test_a_sidecar_that_keeps_a_finished_pod_alive_ends_the_trial_well(lab: Lab) -> None:
    lab.template_of(batch_job(pod_template(*TWO, restartPolicy="Never")))

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running("istio-proxy")
        pod.running()
        pod.log("loss=0.1")
        pod.terminated(0)

    outcome, watch = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.SUCCEEDED, "SidecarKeepsPodAlive")
    assert "istio-proxy" in outcome.message
    assert any("istio-proxy" in text for text in notices(watch))
    assert watch.lines == ["loss=0.1"]
    assert not lab.is_alive(0)


def test_a_log_that_comes_late_is_read_before_a_held_pod_is_ended(lab: Lab) -> None:
    lab.template_of(batch_job(pod_template(*TWO, restartPolicy="Never")))
    lab.server.fail(lambda request: request.resource == "pods/log", 500, times=3)

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running("istio-proxy")
        pod.running()
        pod.log("loss=0.1")
        pod.terminated(0)

    outcome, watch = lab.run(script, timing=replace(FAST, grace=0.1, backoff=0.2))
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["loss=0.1"]


def test_a_sidecar_does_not_end_a_trial_whose_other_replica_works_on(lab: Lab) -> None:
    lab.template_of(pytorch_job(pod_template(*TWO, restartPolicy="Never")))

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        for pod in pods.values():
            pod.running("istio-proxy")
            pod.running()
        pods["master-0"].terminated(0)

    future, watch, stop = lab.begin(script)
    watch.wait_for(lambda: bool(watch.events))
    with pytest.raises(TimeoutError):
        future.result(4 * FAST.grace)
    stop.set("enough")
    assert future.result(10).state is JobState.STOPPED


def test_a_sidecar_does_not_hide_a_failed_training_container(lab: Lab) -> None:
    lab.template_of(batch_job(pod_template(*TWO, restartPolicy="Never")))

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running("istio-proxy")
        pod.running()
        pod.log("ValueError: lr")
        pod.terminated(1)

    outcome, _ = lab.run(script)
    assert outcome.state is JobState.FAILED
    assert "exit code 1" in outcome.message and "ValueError: lr" in outcome.message


def test_a_worker_that_failed_while_the_master_runs_ends_the_trial(lab: Lab) -> None:
    lab.template_of(pytorch_job())

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        pods["master-0"].running()
        pods["master-0"].log("waiting for the worker")
        pods["worker-0"].running()
        pods["worker-0"].log("RuntimeError: no route to master")
        pods["worker-0"].exit(1)

    outcome, watch = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "ReplicaFailed")
    assert "worker-0, container main: ReplicaFailed: exit code 1" in outcome.message
    assert "no route to master" in outcome.message
    assert "waiting for the worker" not in outcome.message
    assert watch.lines == ["waiting for the worker"]
    assert not lab.is_alive(0)


def test_a_batch_jobs_failed_pod_is_left_to_its_controller(lab: Lab) -> None:
    go = threading.Event()

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.exit(1)
        assert go.wait(10)  # the controller waits longer after each failure
        second = play.pod(play.body["spec"]["template"], "job", 0, suffix="-b")
        second.running()
        second.exit()
        play.condition("Complete")

    future, watch, _ = lab.begin(script)
    watch.wait_for(lambda: any("exit code 1" in text for text in notices(watch)))
    with pytest.raises(TimeoutError):
        future.result(3 * FAST.grace)
    go.set()
    assert future.result(10).state is JobState.SUCCEEDED


def test_a_failed_replica_beside_its_replacement_is_no_failure(lab: Lab) -> None:
    lab.template_of(pytorch_job())

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        pods["master-0"].running()
        pods["worker-0"].exit(137)
        template = play.body["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
        play.pod(template, "worker", 0, suffix="-b").running()

    future, watch, stop = lab.begin(script)
    watch.wait_for(lambda: any("exit code 137" in text for text in notices(watch)))
    with pytest.raises(TimeoutError):
        future.result(3 * FAST.grace)
    stop.set("enough")
    assert future.result(10).state is JobState.STOPPED


def test_a_failed_worker_that_the_operator_replaces_goes_on(lab: Lab) -> None:
    lab.template_of(pytorch_job())
    seen = threading.Event()

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        pods["master-0"].running()
        pods["worker-0"].running()
        pods["worker-0"].exit(137)
        assert seen.wait(10)
        pods["worker-0"].delete()
        template = play.body["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
        again = play.pod(template, "worker", 0)
        again.running()
        again.exit()
        pods["master-0"].exit()
        play.condition("Succeeded")

    future, watch, _ = lab.begin(script)
    watch.wait_for(lambda: any("exit code 137" in text for text in notices(watch)))
    seen.set()
    assert future.result(10).state is JobState.SUCCEEDED


def test_pods_that_are_never_created_are_named(lab: Lab) -> None:
    lab.template_of(pytorch_job())
    outcome, watch = lab.run(lambda play: None, SOON)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "PodsMissing")
    assert "2 of 2 pods are not there" in outcome.message
    assert any("PyTorchJob is not running" in text for text in notices(watch))


def test_a_container_that_takes_long_to_create_is_named_and_may_go_on(lab: Lab) -> None:
    lab.server.script = lambda play: play.pods()[0].waiting("ContainerCreating")
    future, watch, stop = lab.begin()
    watch.wait_for(lambda: any("ContainerCreating" in text for text in notices(watch)))
    assert not future.done()
    stop.set("enough")
    assert future.result(10).state is JobState.STOPPED


def test_a_job_that_a_queue_holds_back_is_not_late(lab: Lab) -> None:
    lab.template_of(batch_job(suspend=True))
    future, watch, _ = lab.begin(limits=Limits(start=0.2))
    watch.wait_for(lambda: any("suspended" in text for text in notices(watch)))
    with pytest.raises(TimeoutError):
        future.result(0.6)
    lab.server.patch("jobs", "contract-0a1b2c3d-0", {"spec": {"suspend": False}})
    play = JobPlay(lab.server, "jobs", lab.object())
    (pod,) = play.pods()
    pod.running()
    pod.log("loss=0.3")
    pod.exit()
    play.condition("Complete")
    assert future.result(10).state is JobState.SUCCEEDED
    assert LogLine("loss=0.3") in watch.events


def test_a_worker_in_its_init_container_does_not_outlive_the_job(lab: Lab) -> None:
    lab.template_of(pytorch_job(pod_template(initContainers=[container("init-pytorch")])))

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        pods["master-0"].running()
        pods["worker-0"].running("init-pytorch", phase="Pending")
        pods["master-0"].exit()
        play.condition("Succeeded")

    outcome, _ = lab.run(script)
    assert outcome.state is JobState.SUCCEEDED
    assert not lab.is_alive(0)
    assert "contract-0a1b2c3d-0-master-0" in lab.pods()
