"""Tests trials whose jobs a queue holds back, lets run and preempts, as Kueue does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from katibflow.experiment import job_kinds
from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState
from katibflow.runners.events import LogLine, Queued, Started
from katibflow.runners.kubernetes.job_object import was_stopped
from katibflow.runners.kubernetes.rbac import role
from katibflow.study.history import TrialState
from tests.behaviour.runner_contract import Watch, trial
from tests.doubles.kubernetes.kueue import QUEUE, Kueue
from tests.doubles.kubernetes.lab import FAST, KINDS, Lab, batch_job, notices, pytorch_job
from tests.doubles.kubernetes.plays import JobPlay

NAMES = [f"contract-0a1b2c3d-{number}" for number in range(3)]
IN_QUEUE = {"labels": {QUEUE: "q"}}


class Steps:
    """A script that prints a line for each attempt, and runs until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.attempts: list[str] = []

    def __call__(self, play: JobPlay) -> None:
        pods = play.pods()
        for pod in pods:
            pod.running()
        self.attempts.append(play.name)
        pods[0].log(f"attempt {self.attempts.count(play.name)} loss=0.{len(self.attempts)}")
        assert self.go.wait(20)
        for pod in pods:
            pod.exit()
        play.condition("Complete" if play.plural == "jobs" else "Succeeded")


@pytest.fixture
def steps() -> Iterator[Steps]:
    made = Steps()
    yield made
    made.go.set()


@pytest.fixture(params=["Job", "PyTorchJob"])
def manifest(request: pytest.FixtureRequest) -> dict[str, Any]:
    made = {"Job": batch_job, "PyTorchJob": pytorch_job}[request.param]()
    return {**made, "metadata": IN_QUEUE}


@pytest.fixture
def kueue(lab: Lab, steps: Steps, manifest: dict[str, Any]) -> Iterator[Kueue]:
    lab.template_of(manifest)
    queue = Kueue(lab.server, lab.plural, steps)
    yield queue
    queue.close()


def seen_by(kueue: Kueue, *numbers: int) -> None:
    """Waits until Kueue has made the trials' Workloads."""
    server = kueue._server
    with server.changed:
        assert server.changed.wait_for(
            lambda: all(kueue.workload(NAMES[number]) for number in numbers), 10
        )


def settled(kueue: Kueue, seconds: float = 0.5) -> None:
    """Gives Kueue several times as long as it takes to take a suspension back."""
    kueue._closed.wait(seconds)


def order(watch: Watch) -> list[type]:
    """Returns what became of the trial, in order."""
    return [type(each) for each in watch.events if isinstance(each, Queued | Started | LogLine)]


def is_still(lab: Lab, number: int) -> bool:
    spec = lab.object(number)["spec"]
    return bool(spec.get("suspend") or spec.get("runPolicy", {}).get("suspend"))


def test_a_trial_waits_for_its_place_and_starts_then(lab: Lab, kueue: Kueue, steps: Steps) -> None:
    first, watch, _ = lab.begin()
    watch.wait_for_line("attempt 1 loss=0.1")
    second, waiting, _ = lab.begin(number=1)
    waiting.wait_for(lambda: any(isinstance(event, Queued) for event in waiting.events))
    assert not any(isinstance(event, Started) for event in waiting.events)
    (running, queued) = lab.runner().records()
    assert running.start is not None and queued.start is None
    steps.go.set()
    assert [first.result(20).state, second.result(20).state] == [JobState.SUCCEEDED] * 2
    assert order(waiting) == [Queued, Started, LogLine]
    told = notices(waiting)
    assert "is suspended, as by a queue" in told[0]
    assert any("may run, after" in text for text in told)


def test_a_stop_lasts_though_the_queue_takes_suspensions_back(
    lab: Lab, kueue: Kueue, steps: Steps
) -> None:
    runner = lab.runner()
    first, watch, stop = lab.begin(runner=runner)
    watch.wait_for_line("attempt 1 loss=0.1")
    second, waiting, other = lab.begin(number=1, runner=runner)
    waiting.wait_for(lambda: bool(notices(waiting)))
    seen_by(kueue, 0, 1)
    other.set("the goal is reached")
    stop.set("the goal is reached")
    assert [first.result(20).state, second.result(20).state] == [JobState.STOPPED] * 2
    settled(kueue)
    assert kueue.runs == [NAMES[0]] and kueue.admitted == []
    for number in (0, 1):
        workload = kueue.workload(NAMES[number])
        assert workload and workload["spec"]["active"] is False
        assert is_still(lab, number)
    assert lab.pods() == []


def test_a_job_that_kueue_has_not_seen_yet_is_deleted_to_stop_it(
    lab: Lab, kueue: Kueue, steps: Steps
) -> None:
    kueue._delay = 60.0
    settled(kueue, 0.2)
    future, watch, stop = lab.begin()
    watch.wait_for(lambda: bool(notices(watch)))
    stop.set("enough")
    assert future.result(20).state is JobState.STOPPED
    assert NAMES[0] not in lab.server.objects[lab.plural]
    assert any("has no Workload" in text for text in notices(watch))
    kueue._closed.set()


def test_without_the_right_the_job_is_deleted_and_its_record_kept(
    lab: Lab, kueue: Kueue, steps: Steps
) -> None:
    known = [kind for kind in job_kinds.KINDS.values() if kind.kind in KINDS]
    lab.server.rules = list(role(known, "test")["rules"])
    runner = lab.runner()
    future, watch, stop = lab.begin(runner=runner)
    watch.wait_for_line("attempt 1 loss=0.1")
    stop.set("the goal is reached")
    assert future.result(20).state is JobState.STOPPED
    assert any("katibflow-workloads" in text for text in notices(watch))
    ended = replace(trial(0, TrialState.KILLED), message="the goal is reached")
    runner.record(ended)
    settled(kueue)
    assert runner.records() == (ended,)
    assert QUEUE not in lab.object()["metadata"]["labels"]
    assert kueue.runs == [NAMES[0]] and lab.pods() == [] and is_still(lab, 0)


def test_a_record_without_a_job_is_in_no_queue(lab: Lab, kueue: Kueue) -> None:
    lab.runner().record(trial(0, TrialState.FAIL))
    settled(kueue)
    assert lab.runner().records() == (trial(0, TrialState.FAIL),)
    assert kueue.workload(NAMES[0]) is None and kueue.runs == []


def test_a_record_that_a_default_queue_would_run_is_deleted(lab: Lab, kueue: Kueue) -> None:
    def default_queue(plural: str, body: dict[str, Any]) -> None:
        body["metadata"]["labels"][QUEUE] = "default"

    lab.server.admit = default_queue
    lab.runner().record(trial(0, TrialState.FAIL))
    settled(kueue)
    assert kueue.runs == [] and lab.server.objects[lab.plural] == {}


def test_a_sweep_stops_jobs_in_the_queue_for_good(lab: Lab, kueue: Kueue) -> None:
    first, watch, _ = lab.begin()
    watch.wait_for_line("attempt 1 loss=0.1")
    second, waiting, _ = lab.begin(number=1)
    waiting.wait_for(lambda: bool(notices(waiting)))
    seen_by(kueue, 0, 1)
    lab.runner().sweep((), "the run is over")
    assert [first.result(20).state, second.result(20).state] == [JobState.STOPPED] * 2
    settled(kueue)
    assert kueue.runs == [NAMES[0]] and is_still(lab, 0) and is_still(lab, 1)


def test_a_stopped_job_is_created_anew_and_waits_again(
    lab: Lab, kueue: Kueue, steps: Steps
) -> None:
    future, watch, stop = lab.begin()
    watch.wait_for_line("attempt 1 loss=0.1")
    stop.set("Ctrl-C")
    future.result(20)
    again, watch, _ = lab.begin()
    watch.wait_for_line("attempt 2 loss=0.2")
    steps.go.set()
    assert again.result(20).state is JobState.SUCCEEDED


def test_a_preempted_trial_begins_anew(lab: Lab, kueue: Kueue, steps: Steps) -> None:
    future, watch, _ = lab.begin(limits=Limits(trial=25))
    watch.wait_for_line("attempt 1 loss=0.1")
    kueue.preempt(NAMES[0], "Preempted to accommodate a workload (UID: 1)")
    watch.wait_for(lambda: sum(isinstance(event, Queued) for event in watch.events) == 2)
    (record,) = lab.runner().records()
    assert record.start is None
    kueue.readmit(NAMES[0])
    watch.wait_for_line("attempt 2 loss=0.2")
    steps.go.set()
    assert future.result(20).state is JobState.SUCCEEDED
    assert order(watch) == [Queued, Started, LogLine] * 2
    told = notices(watch)
    assert any("as by a preemption; it waits to begin anew" in text for text in told)
    assert any("Preempted to accommodate a workload (UID: 1)" in text for text in told)


def test_the_trial_limit_counts_anew_after_a_preemption(
    lab: Lab, kueue: Kueue, steps: Steps
) -> None:
    future, watch, _ = lab.begin(limits=Limits(trial=1.0))
    watch.wait_for_line("attempt 1 loss=0.1")
    settled(kueue, 0.6)
    kueue.preempt(NAMES[0])
    settled(kueue, 0.6)
    assert not future.done()
    kueue.readmit(NAMES[0])
    watch.wait_for_line("attempt 2 loss=0.2")
    settled(kueue, 0.6)
    assert not future.done()
    outcome = future.result(20)
    assert outcome.reason == "TrialTimedOut" and is_still(lab, 0)


def test_what_kueue_says_of_a_waiting_job_is_told(lab: Lab, kueue: Kueue, steps: Steps) -> None:
    kueue.places = 0
    future, watch, stop = lab.begin(runner=lab.runner(replace(FAST, notice=0.3)))
    watch.wait_for(lambda: any("insufficient unused quota" in text for text in notices(watch)))
    stop.set("enough")
    assert future.result(20).state is JobState.STOPPED


def test_many_waiting_trials_stop_in_a_bounded_time_and_none_is_admitted(
    lab: Lab, kueue: Kueue
) -> None:
    runner, stops, futures = lab.runner(), [], []
    for number in range(3):
        future, watch, stop = lab.begin(number=number, runner=runner)
        futures.append(future)
        stops.append(stop)
        if number:
            watch.wait_for(lambda watch=watch: Queued in map(type, watch.events))
        else:
            with lab.server.changed:
                assert lab.server.changed.wait_for(lambda: kueue.runs, 10)
    seen_by(kueue, 0, 1, 2)
    for stop in stops:
        stop.set("SIGINT")
    assert {future.result(5).state for future in futures} == {JobState.STOPPED}
    settled(kueue)
    assert len(kueue.runs) == 1 and kueue.admitted == []


def resuming(lab: Lab, name: str) -> None:
    """Another suspender than Kueue: it knows of no Workload, and lets the job run again."""
    lab.server.patch("jobs", name, {"spec": {"suspend": False}})


def test_a_stop_that_somebody_takes_back_deletes_the_job(lab: Lab) -> None:
    lab.template_of(batch_job())
    lab.server.outlives = lambda pod: True

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        pod.log("begun")

    future, watch, stop = lab.begin(script)
    watch.wait_for_line("begun")
    stop.set("enough")
    with lab.server.changed:
        assert lab.server.changed.wait_for(lambda: was_stopped(lab.object()) == "enough", 10)
    resuming(lab, NAMES[0])
    with lab.server.changed:
        assert lab.server.changed.wait_for(lambda: not lab.server.objects["jobs"], 10)
    lab.server.outlives = lambda pod: False
    lab.server.delete_pods_of(NAMES[0])
    assert future.result(20).state is JobState.STOPPED


def test_a_stop_that_was_taken_back_is_seen_when_the_trial_is_recorded(lab: Lab) -> None:
    lab.template_of(batch_job())
    runner = lab.runner()
    future, watch, stop = lab.begin(lambda play: play.pods()[0].running(), runner=runner)
    watch.wait_for(lambda: bool(watch.events))
    stop.set("enough")
    assert future.result(20).state is JobState.STOPPED
    resuming(lab, NAMES[0])
    ended = trial(0, TrialState.KILLED)
    runner.record(ended)
    assert runner.records() == (ended,) and is_still(lab, 0)
