"""Tests pods that outlive their job: which ones the outcome waits for, and how the rest end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from katibflow.engine.loop import run_experiment
from katibflow.runners.base import JobOutcome, JobState
from katibflow.runners.kubernetes.runner import KubernetesRunner
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import History, TrialState
from katibflow.validation.rules import check_document
from tests.behaviour.kubernetes.test_engine_on_kubernetes import document
from tests.behaviour.runner_contract import PATIENCE, Watch, trial
from tests.doubles.kubernetes.lab import (
    EXPERIMENT,
    FAST,
    RUN,
    Lab,
    batch_job,
    container,
    pod_template,
    pytorch_job,
    replicas,
)
from tests.doubles.kubernetes.plays import JobPlay, PodPlay

MASTER, WORKER = (f"{EXPERIMENT}-{RUN}-0-{replica}" for replica in ("master-0", "worker-0"))
PATIENT = replace(FAST, linger=20.0, stop=20.0)
"""Waits so long for a pod that a test which depends on it fails."""

SOON = 1.0
"""Seconds from a job's end to its outcome."""


class Stage:
    """A job with a master that ends well, and a worker that the test plays on."""

    def __init__(self, lab: Lab, kind: str = "Succeeded") -> None:
        self.lab = lab
        self.kind = kind
        self.began: Callable[[PodPlay], None] = lambda worker: worker.running()
        self.go = threading.Event()
        self.late: Callable[[PodPlay], None] = lambda worker: worker.exit()
        self.over = 0.0

    def __call__(self, play: JobPlay) -> None:
        pods = replicas(play.pods())
        pods["master-0"].running()
        self.began(pods["worker-0"])
        pods["master-0"].log("loss=0.5")
        pods["master-0"].exit()
        self.over = monotonic()
        play.condition(self.kind)
        assert self.go.wait(PATIENCE)
        self.late(pods["worker-0"])

    def outcome(self, runner: KubernetesRunner) -> JobOutcome:
        """The outcome, which comes soon after the job's end, with the metric."""
        future, watch, _ = self.lab.begin(self, runner=runner)
        outcome = future.result(PATIENCE)
        assert monotonic() - self.over < SOON
        assert outcome.state is JobState.SUCCEEDED
        assert watch.lines == ["loss=0.5"]
        return outcome

    def pod(self, name: str) -> dict[str, Any]:
        return self.lab.server.objects["pods"][name]


@pytest.fixture
def stage(lab: Lab) -> Iterator[Stage]:
    template = pod_template(restartPolicy="OnFailure", initContainers=[container("init-pytorch")])
    lab.template_of(pytorch_job(template), retain=True)
    made = Stage(lab)
    yield made
    made.go.set()


def test_a_worker_stuck_in_its_init_container_holds_no_slot(stage: Stage, lab: Lab) -> None:
    stage.began = lambda worker: worker.running("init-pytorch", phase="Pending")
    lab.server.outlives = lambda pod: pod == WORKER  # its container passes over SIGTERM
    stage.outcome(lab.runner(PATIENT))
    assert "deletionTimestamp" in stage.pod(WORKER)["metadata"]
    assert "deletionTimestamp" not in stage.pod(MASTER)["metadata"]


def test_a_worker_that_was_never_scheduled_is_deleted_at_once(stage: Stage, lab: Lab) -> None:
    stage.began = lambda worker: worker.unschedulable("0/1 nodes are available")
    stage.outcome(lab.runner(PATIENT))
    assert lab.pods() == [MASTER]


def test_a_worker_that_winds_up_is_left_to_end_by_itself(stage: Stage, lab: Lab) -> None:
    def winds_up(worker: PodPlay) -> None:
        worker.log("left the group")
        worker.exit()

    stage.late = winds_up
    runner = lab.runner(PATIENT)
    outcome = stage.outcome(runner)
    assert stage.pod(WORKER)["status"]["phase"] == "Running"
    assert sorted(outcome.logs) == ["master-0", "worker-0"]
    stage.go.set()
    runner.close()
    assert stage.pod(WORKER)["status"]["phase"] == "Succeeded"
    assert lab.server.count("delete", "pods") == 0
    assert [text for _, text in lab.server.log(WORKER, "main", 0).lines] == ["left the group"]


def test_a_worker_that_runs_on_is_deleted_after_a_while(stage: Stage, lab: Lab) -> None:
    stage.outcome(lab.runner())
    lab.server.wait_for(lambda: WORKER not in lab.pods())
    assert lab.pods() == [MASTER]


def test_closing_waits_until_nothing_is_left(stage: Stage, lab: Lab) -> None:
    runner = lab.runner()
    stage.outcome(runner)
    assert WORKER in lab.pods()
    runner.close()
    assert lab.pods() == [MASTER]
    assert [each.name for each in threading.enumerate() if each.name == "leftovers"] == []


def test_what_cannot_be_deleted_is_told_and_closing_ends_in_time(stage: Stage, lab: Lab) -> None:
    told: list[str] = []
    runner = lab.runner(replace(FAST, close=0.5, give_up=PATIENCE), tell=told.append)
    stage.outcome(runner)
    lab.server.fail(lambda request: request.resource == "pods", 503, times=10**6)
    begun = monotonic()
    runner.close()
    assert monotonic() - begun < FAST.linger + 2 * 0.5 + SOON
    (text,) = told
    assert text.startswith("pods that trial 0 left behind could not be deleted: ")


def test_a_refusal_to_delete_fails_no_trial(stage: Stage, lab: Lab) -> None:
    told: list[str] = []
    runner = lab.runner(tell=told.append)
    stage.began = lambda worker: worker.running("init-pytorch", phase="Pending")
    lab.server.fail(lambda request: request.verb == "delete", 403, message="you may not")
    stage.outcome(runner)
    assert told == [
        "pods that trial 0 left behind could not be deleted: the API server answers 403: you may "
        "not"
    ]


def test_pods_that_are_not_retained_go_when_the_last_has_had_its_time(
    stage: Stage, lab: Lab
) -> None:
    lab.template_of(lab.template.trial_spec or {}, retain=False)
    runner = lab.runner(PATIENT)
    stage.outcome(runner)
    runner.record(trial(0, TrialState.COMPLETE))
    assert lab.object()["metadata"]["labels"]["katibflow/state"] == "COMPLETE"
    assert lab.pods() == [MASTER, WORKER]
    stage.go.set()
    runner.close()
    assert lab.pods() == []


def test_a_closed_runner_leaves_nothing_of_a_trial_that_ends_later(stage: Stage, lab: Lab) -> None:
    runner = lab.runner()
    runner._leftovers.close()  # as a close that comes while the outcome is on its way
    stage.outcome(runner)
    assert lab.pods() == [MASTER]


def test_the_next_trial_begins_while_a_worker_winds_up(stage: Stage, lab: Lab) -> None:
    main = container(args=["--lr=${trialParameters.lr}"])
    spec = document()["spec"]["trialTemplate"] | {"trialSpec": pytorch_job(pod_template(main))}
    next_began = threading.Event()

    def script(play: JobPlay) -> None:
        if play.number == 0:
            stage.go = next_began
            stage(play)
        else:
            next_began.set()
            stage.began = lambda worker: worker.exit()
            stage(play)

    lab.server.script = script
    runner = lab.runner(PATIENT)
    wanted = document(trialTemplate=spec, parallelTrialCount=1, maxTrialCount=2)
    history = History(check_document(wanted, "test"), RUN, 1)
    result = run_experiment(history, runner, watch=lambda update: None, stop=StopRequest())
    assert [each.state for each in result.history.trials] == [TrialState.COMPLETE] * 2
    assert next_began.is_set()


def test_a_metric_printed_after_the_jobs_end_was_told_is_not_lost(lab: Lab) -> None:
    lab.template_of(pytorch_job(workers=0))

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("loss=0.9")
        play.condition("Succeeded")
        pod.log("loss=0.1")
        pod.exit()

    outcome, watch = lab.run(script, timing=PATIENT)
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["loss=0.9", "loss=0.1"]


def test_the_pod_that_replaced_a_failed_one_is_waited_for(lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("loss=0.9")
        pod.evicted("low on memory")
        play.condition("Complete")  # as when the watch of the pods is behind
        second = play.pod(play.body["spec"]["template"], "job", 0, suffix="-b")
        second.running()
        second.log("loss=0.8")
        second.exit()

    outcome, watch = lab.run(script, timing=PATIENT)
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["loss=0.9", "loss=0.8"]


def test_a_failed_job_waits_for_no_replica_that_did_not_fail(lab: Lab) -> None:
    lab.template_of(pytorch_job(workers=2))
    over: list[float] = []
    go = threading.Event()

    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        for pod in pods.values():
            pod.running()
        pods["master-0"].log("loss=0.5")
        pods["master-0"].exit()
        pods["worker-1"].log("RuntimeError: no route to master")
        pods["worker-1"].exit(1)
        over.append(monotonic())
        play.condition("Failed", "PyTorchJobFailed", "1 Worker replica(s) failed")
        assert go.wait(PATIENCE)
        pods["worker-0"].exit(1)

    outcome, _ = lab.run(script, timing=PATIENT)
    assert monotonic() - over[0] < SOON
    go.set()
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "PyTorchJobFailed")
    assert outcome.message.endswith("RuntimeError: no route to master")
    assert "worker-1, container main: ReplicaFailed: exit code 1" in outcome.message


def test_a_job_whose_container_never_ran_is_over_at_once(lab: Lab) -> None:
    lab.template_of(batch_job(pod_template(initContainers=[container("fetch")])))
    over: list[float] = []

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running("fetch", phase="Pending")
        pod.log("no such bucket", container="fetch")
        pod.terminated(4, container="fetch", phase="Failed")
        over.append(monotonic())
        play.condition("Failed", "BackoffLimitExceeded")

    outcome, _ = lab.run(script, timing=PATIENT)
    assert monotonic() - over[0] < SOON
    assert outcome.state is JobState.FAILED
    assert "no such bucket" in outcome.message


def test_a_stop_still_waits_for_all_pods(stage: Stage, lab: Lab) -> None:
    def script(play: JobPlay) -> None:
        pods = replicas(play.pods())
        for pod in pods.values():
            pod.running()
        pods["master-0"].log("begun")

    future, watch, stop = lab.begin(script)
    watch.wait_for_line("begun")
    stop.set("enough")
    assert future.result(PATIENCE).state is JobState.STOPPED
    assert lab.pods() == []


def test_a_trial_that_is_run_again_beside_its_leftovers_hears_of_its_pods(
    stage: Stage, lab: Lab
) -> None:
    runner = lab.runner(PATIENT)
    stage.outcome(runner)
    again, watch = lab.trial_job(0), Watch()
    assert runner.run(again, watch, StopRequest()).state is JobState.SUCCEEDED
    assert watch.lines == ["loss=0.5"]
    stage.go.set()
    runner.close()
    assert lab.server.count("delete", "pods") == 0
