"""Tests that a trial that is stuck or failed says why, in the words of who knows."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from katibflow.experiment import job_kinds
from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.rbac import EVENT_RULE, role
from tests.doubles.kubernetes.lab import (
    FAST,
    SOON,
    Lab,
    batch_job,
    container,
    notices,
    pod_template,
    pytorch_job,
)
from tests.doubles.kubernetes.plays import JobPlay, PodPlay, completes

MOUNT = 'MountVolume.SetUp failed for volume "v" : configmap "nothing" not found'
QUOTA = (
    'Error creating: pods "{}" is forbidden: exceeded quota: q, requested: pods=1, used: pods={}'
)
NO_PROGRAM = (
    'unable to start container process: exec: "/no/such/program": no such file or directory'
)
UNHURRIED = replace(FAST, notice=20)
AGAIN = ({"restartPolicy": "Never"}, {"restartPolicy": "OnFailure"})


def reads(lab: Lab) -> tuple[int, int]:
    """Returns how often Events were listed and watched."""
    return lab.server.count("list", "events"), lab.server.count("watch", "events")


def cannot_mount(play: JobPlay) -> None:
    (pod,) = play.pods()
    pod.waiting("ContainerCreating")
    for _ in range(3):
        pod.warn("FailedMount", f"{MOUNT}\n")


def seen_running(play: JobPlay) -> PodPlay:
    """Starts the job's pod; returns once the runner has seen that."""
    (pod,) = play.pods()
    pod.running()
    cluster = play.cluster
    with cluster.changed:
        assert cluster.changed.wait_for(lambda: cluster.count("get", "pods/log") > 0, 10)
    return pod


def without_events(rules: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
    return [rule for rule in rules if EVENT_RULE[0] not in rule["resources"]]


def test_a_volume_that_cannot_be_mounted_is_named_by_the_kubelet(lab: Lab) -> None:
    outcome, watch = lab.run(cannot_mount, Limits(start=1.6), replace(FAST, notice=1.5))
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "FailedMount")
    assert outcome.message.startswith("not started within 1.6 s: pod ")
    assert outcome.message.endswith(f", container main: FailedMount: {MOUNT}")
    assert [text for text in notices(watch) if "FailedMount" in text] == [
        f"pod contract-0a1b2c3d-0-job-0, container main: FailedMount: {MOUNT}"
    ]
    assert not any("ContainerCreating" in text for text in notices(watch))


def test_a_pod_that_is_refused_is_named_by_its_controller_once(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        for number, tail in enumerate(("aaaaa", "bbbbb", "ccccc")):
            play.warn("FailedCreate", QUOTA.format(f"{play.name}-{tail}", number))

    outcome, watch = lab.run(script, SOON)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "FailedCreate")
    assert "exceeded quota: q" in outcome.message
    assert sum("exceeded quota" in text for text in notices(watch)) == 1


def test_without_pods_and_without_warnings_the_job_s_own_words_are_told(lab: Lab) -> None:
    lab.template_of(pytorch_job())

    def script(play: JobPlay) -> None:
        play.condition("Created", "PyTorchJobCreated", "PyTorchJob is created.")

    outcome, _ = lab.run(script, SOON)
    assert outcome.reason == "PodsMissing"
    assert outcome.message.endswith(
        "2 of 2 pods are not there; PyTorchJobCreated: PyTorchJob is created."
    )


def test_a_replacement_that_is_refused_is_named_and_ends_the_trial(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        pod = seen_running(play)
        pod.delete()
        play.warn("FailedCreate", QUOTA.format(f"{play.name}-aaaaa", 0))

    outcome, watch = lab.run(script, SOON)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "FailedCreate")
    assert any("exceeded quota" in text for text in notices(watch))


@pytest.mark.parametrize("reason", ["Unhealthy", "FailedPostStartHook"])
def test_a_container_that_the_kubelet_killed_says_why(lab: Lab, reason: str) -> None:
    def script(play: JobPlay) -> None:
        pod = seen_running(play)
        pod.warn(reason, "it did not answer\n", container="main")
        pod.terminated(137)
        pod.exit(137)
        play.condition("Failed", "BackoffLimitExceeded", "Job has reached the backoff limit")

    outcome, _ = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, reason)
    assert f"container main: {reason}: it did not answer; exit code 137" in outcome.message


def test_a_program_that_failed_by_itself_keeps_its_reason(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.warn("Unhealthy", "Readiness probe failed", container="main")
        pod.exit(1)
        play.condition("Failed", "BackoffLimitExceeded", "Job has reached the backoff limit")

    outcome, _ = lab.run(script)
    assert outcome.reason == "BackoffLimitExceeded"
    assert "exit code 1; Unhealthy: Readiness probe failed" in outcome.message


# What it costs


def test_trials_that_run_well_read_no_events(lab: Lab) -> None:
    runner = lab.runner(UNHURRIED)
    for number in range(3):
        future, _, _ = lab.begin(completes(), number, runner)
        assert future.result(20).state is JobState.SUCCEEDED
    assert reads(lab) == (0, 0)


def test_all_trials_of_a_run_share_one_watch_of_events(lab: Lab) -> None:
    runner = lab.runner()
    begun = [lab.begin(cannot_mount, number, runner, SOON) for number in range(5)]
    for future, _, _ in begun:
        assert future.result(20).reason == "FailedMount"
    later, _, _ = lab.begin(cannot_mount, 5, runner, SOON)
    assert later.result(20).reason == "FailedMount"
    assert reads(lab) == (1, 1)
    (listed,) = (
        each
        for each in lab.server.requests
        if each.resource == "events" and not (each.query.get("watch"))
    )
    assert listed.query["fieldSelector"] == "type=Warning"


def test_warnings_about_other_objects_are_nobody_s(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        play.pods()[0].waiting("ContainerCreating")
        play.cluster.warn("Pod", "somebody-else", "FailedMount", MOUNT)
        play.cluster.warn("Pod", f"{play.name}0-job-0", "FailedMount", MOUNT)

    outcome, _ = lab.run(script, SOON)
    assert outcome.reason == "ContainerCreating"


# Without the right


def test_without_the_right_the_message_says_what_would_show_the_cause(lab: Lab) -> None:
    (kind,) = (each for each in job_kinds.KINDS.values() if each.kind == "Job")
    lab.server.rules = without_events(role([kind], "x")["rules"])
    runner = lab.runner()
    for number in range(3):
        future, watch, _ = lab.begin(cannot_mount, number, runner, SOON)
        outcome = future.result(20)
        pod = f"contract-0a1b2c3d-{number}-job-0"
        assert (outcome.state, outcome.reason) == (JobState.FAILED, "ContainerCreating")
        assert outcome.message.endswith(
            "ContainerCreating: only its Events say why, and they may not be read: kubectl get "
            f"events -n kubeflow --field-selector involvedObject.name={pod}; "
            "with the rule `list` and `watch` of `events` katibflow reads them"
        )
        assert any(f"involvedObject.name={pod}" in text for text in notices(watch))
    assert reads(lab) == (1, 0)


def test_without_the_right_a_trial_ends_as_it_would(lab: Lab) -> None:
    (kind,) = (each for each in job_kinds.KINDS.values() if each.kind == "Job")
    lab.server.rules = without_events(role([kind], "x")["rules"])

    def script(play: JobPlay) -> None:
        pod = seen_running(play)
        pod.exit(137)
        play.condition("Failed", "BackoffLimitExceeded", "Job has reached the backoff limit")

    outcome, _ = lab.run(script)
    assert outcome.reason == "BackoffLimitExceeded"
    assert "ReplicaFailed: exit code 137; only its Events say why" in outcome.message


def test_events_that_do_not_come_hold_up_no_trial(lab: Lab) -> None:
    lab.server.fail(lambda request: request.resource == "events", 500, times=1000)

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.exit(1)
        play.condition("Failed", "BackoffLimitExceeded", "Job has reached the backoff limit")

    outcome, watch = lab.run(script, timing=replace(FAST, explain=0.2))
    assert outcome.reason == "BackoffLimitExceeded"
    assert not any("out of reach" in text for text in notices(watch))


# What a status says


@pytest.mark.parametrize("policy", AGAIN)
def test_a_program_that_cannot_be_started_ends_the_trial_at_the_second_start(
    lab: Lab, policy: Mapping[str, str]
) -> None:
    lab.template_of(batch_job(pod_template(**policy), backoffLimit=6))

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        if policy["restartPolicy"] == "Never":
            pod.terminated(128, "StartError", message=NO_PROGRAM, phase="Failed")
            pod = play.pod(play.body["spec"]["template"], "job", 0, suffix="-b")
            pod.terminated(128, "StartError", message=NO_PROGRAM, phase="Failed")
        else:
            pod.running()
            pod.terminated(128, "StartError", message=NO_PROGRAM)
            pod.waiting("RunContainerError", NO_PROGRAM)
            pod.running()
            pod.terminated(128, "StartError", message=NO_PROGRAM)

    outcome, _ = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "StartError")
    assert NO_PROGRAM in outcome.message
    assert "it failed alike the second time" in outcome.message


def test_a_program_that_cannot_be_started_once_may_start_later(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.terminated(128, "StartError", message=NO_PROGRAM, phase="Failed")
        again = play.pod(play.body["spec"]["template"], "job", 0, suffix="-b")
        again.terminated(128, "StartError", message="a device is in use", phase="Failed")
        last = play.pod(play.body["spec"]["template"], "job", 0, suffix="-c")
        last.running()
        last.exit()
        play.condition("Complete")

    outcome, watch = lab.run(script)
    assert outcome.state is JobState.SUCCEEDED
    assert any(f"StartError: exit code 128: {NO_PROGRAM}" in text for text in notices(watch))


def test_what_a_container_left_as_its_last_words_is_told(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.terminated(7, message="the licence\nhas expired\n", phase="Failed")
        play.condition("Failed", "BackoffLimitExceeded", "Job has reached the backoff limit")

    outcome, _ = lab.run(script, timing=UNHURRIED)
    assert "exit code 7: the licence has expired" in outcome.message
    assert reads(lab) == (0, 0)


def disrupted(reason: str, message: str) -> list[dict[str, str]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}]


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("EvictionByEvictionAPI", "Eviction API: evicting"),
        ("PreemptionByScheduler", "preempting to accommodate a higher priority pod"),
        ("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
        ("SomethingNew", "taken away"),
    ],
)
def test_a_pod_that_is_taken_away_says_who_takes_it(lab: Lab, reason: str, message: str) -> None:
    lab.server.outlives = lambda pod: True

    def script(play: JobPlay) -> None:
        pod = seen_running(play)
        pod.status(conditions=disrupted(reason, message))
        pod.delete()
        pod.exit(137)
        lab.server.outlives = lambda pod: False
        pod.delete()
        play.condition("Failed", "BackoffLimitExceeded", "Job has reached the backoff limit")

    outcome, watch = lab.run(script)
    assert outcome.state is JobState.FAILED
    assert f"{reason}: {message}" in outcome.message
    assert "exit code 137" not in outcome.message
    assert any(f"{reason}: {message}" in text for text in notices(watch))
    assert outcome.reason == (reason if reason != "SomethingNew" else "BackoffLimitExceeded")


@pytest.mark.parametrize("force", [False, True])
def test_a_deleted_pod_says_so(lab: Lab, force: bool) -> None:
    lab.server.outlives = lambda pod: not force

    def script(play: JobPlay) -> None:
        pod = seen_running(play)
        pod.delete()
        if not force:
            pod.exit(137)
            lab.server.outlives = lambda pod: False
            pod.delete()
        play.condition("Failed", "BackoffLimitExceeded", "Job has reached the backoff limit")

    outcome, _ = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "PodDeleted")
    assert outcome.message.startswith(
        "Job has reached the backoff limit; pod contract-0a1b2c3d-0-job-0: PodDeleted: "
        "it was deleted before it had ended"
    )


def test_a_deleted_pod_that_its_job_replaces_is_told(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        pod = seen_running(play)
        pod.delete()
        again = play.pod(play.body["spec"]["template"], "job", 0, suffix="-b")
        again.running()
        assert told.wait(10)
        again.exit()
        play.condition("Complete")

    told = threading.Event()
    future, watch, _ = lab.begin(script)
    watch.wait_for(lambda: any("PodDeleted" in text for text in notices(watch)))
    told.set()
    assert future.result(10).state is JobState.SUCCEEDED


def test_pods_that_a_job_takes_away_as_it_ends_are_no_news(lab: Lab) -> None:
    lab.template_of(pytorch_job())

    def script(play: JobPlay) -> None:
        master, worker = play.pods()
        master.running()
        worker.running()
        master.exit()
        worker.delete()
        play.condition("Succeeded")

    outcome, watch = lab.run(script)
    assert outcome.state is JobState.SUCCEEDED
    assert not any("PodDeleted" in text for text in notices(watch))


def test_the_job_s_deadline_is_the_cause_and_not_the_pods_that_it_ends(lab: Lab) -> None:
    lab.server.outlives = lambda pod: True

    def script(play: JobPlay) -> None:
        pod = seen_running(play)
        pod.delete()
        pod.exit(137)
        play.condition("Failed", "DeadlineExceeded", "Job was active longer than its deadline")

    outcome, _ = lab.run(script)
    assert outcome.reason == "DeadlineExceeded"
    assert outcome.message.split(";")[0] == "Job was active longer than its deadline"
    assert "137" not in outcome.message and "PodDeleted" not in outcome.message


@pytest.mark.parametrize("limits", [Limits(start=0.3), Limits(trial=0.6)])
def test_what_katibflow_does_to_the_pods_is_no_cause(lab: Lab, limits: Limits) -> None:
    lab.server.outlives = lambda pod: True

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        if limits.trial is None:
            pod.waiting("ImagePullBackOff", "no such image")
        else:
            pod.running()
        with lab.server.changed:  # the controller ends the pods of the suspended job
            lab.server.changed.wait_for(
                lambda: "deletionTimestamp" in lab.server.objects["pods"][pod.name]["metadata"], 10
            )
        pod.exit(137)
        lab.server.outlives = lambda pod: False
        pod.delete()

    outcome, watch = lab.run(script, limits)
    assert outcome.state is JobState.FAILED
    assert outcome.reason == ("TrialTimedOut" if limits.trial else "ImagePullBackOff")
    assert "137" not in outcome.message and "PodDeleted" not in outcome.message
    assert not any("137" in text or "PodDeleted" in text for text in notices(watch))


def test_waits_for_an_image_that_take_turns_are_one_notice(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        for number in range(3):
            pod.waiting("ErrImagePull", f"rpc error: code = NotFound, try {number}")
            pod.waiting("ImagePullBackOff", f"Back-off pulling image, try {number}")

    outcome, watch = lab.run(script, SOON)
    assert outcome.reason == "ImagePullBackOff"
    assert len([text for text in notices(watch) if "image" in text or "rpc" in text]) == 1


def test_the_kubelet_s_word_for_a_lost_log_is_no_line(lab: Lab) -> None:
    gone = "unable to retrieve container logs for containerd://0a1b2c"

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("loss=0.5")
        with lab.server.changed:
            lab.server.log(pod.name, "main", 0).lines.append(("", gone))
        pod.exit()
        play.condition("Complete")

    outcome, watch = lab.run(script)
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["loss=0.5"]


def test_an_init_container_that_hangs_shows_its_log(lab: Lab) -> None:
    lab.template_of(batch_job(pod_template(initContainers=[container("fetch")])))

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running("fetch", phase="Pending")
        pod.log("waiting for the bucket", container="fetch")

    outcome, _ = lab.run(script, SOON)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "InitContainerRunning")
    assert outcome.message.endswith("the last lines of its log:\nwaiting for the bucket")


def test_a_native_sidecar_keeps_no_pod_alive(lab: Lab) -> None:
    beside = container("katibflow-metrics", restartPolicy="Always")
    lab.template_of(batch_job(pod_template(initContainers=[beside], restartPolicy="Never")))
    seen = threading.Event()

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running("katibflow-metrics", phase="Pending")
        pod.running()
        pod.log("loss=0.5")
        pod.terminated()
        assert not seen.wait(3 * FAST.grace)  # the kubelet gives it its grace period
        pod.terminated(137, container="katibflow-metrics", phase="Succeeded")
        play.condition("Complete", "CompletionsReached")

    outcome, watch = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.SUCCEEDED, "CompletionsReached")
    assert notices(watch) == []


def test_a_ray_job_with_a_fault_ends_in_its_operator_s_words(lab: Lab) -> None:
    known = job_kinds.KINDS["ray.io/v1", "RayJob"]
    lab.server.rules = role([known], "x")["rules"]
    lab.template_of(
        {"apiVersion": "ray.io/v1", "kind": "RayJob", "spec": {"entrypoint": "python x.py"}},
        primaryPodLabels={},
    )

    def script(play: JobPlay) -> None:
        play.status(
            jobDeploymentStatus="ValidationFailed",
            reason="ValidationFailed",
            message="spec.rayClusterSpec and spec.clusterSelector are both empty",
        )

    outcome, _ = lab.run(script)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "ValidationFailed")
    assert outcome.message.startswith("spec.rayClusterSpec and spec.clusterSelector are both empty")
