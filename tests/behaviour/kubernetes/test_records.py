"""Tests the records of trials whose finished jobs do not stay."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.rbac import records_role
from katibflow.study.history import TrialState
from tests.behaviour.kubernetes.test_lifecycle import NAME, finished, runs_for_ever
from tests.behaviour.runner_contract import trial
from tests.doubles.kubernetes.lab import Lab, batch_job, pytorch_job
from tests.doubles.kubernetes.plays import completes


@pytest.fixture
def maps(lab: Lab) -> dict[str, dict[str, Any]]:
    """The ConfigMaps of the cluster, where the account may write some."""
    assert lab.server.rules is not None
    lab.server.rules += records_role()["rules"]
    return lab.server.objects["configmaps"]


LIFETIMES = {
    "Job": batch_job(ttlSecondsAfterFinished=0),
    "PyTorchJob": pytorch_job(runPolicy={"ttlSecondsAfterFinished": 0}),
}


@pytest.mark.parametrize("kind", LIFETIMES)
def test_a_job_gets_its_lifetime_once_the_record_is_elsewhere(
    lab: Lab, maps: dict[str, Any], kind: str
) -> None:
    lab.template_of(LIFETIMES[kind])
    lab.run(completes())
    assert "ttlSecondsAfterFinished" not in json.dumps(lab.object()["spec"])
    lab.runner().record(finished())  # type: ignore[arg-type]
    assert "ttlSecondsAfterFinished" in json.dumps(lab.object()["spec"])
    record = maps[NAME]["metadata"]
    lab.server.delete(lab.plural, NAME)  # as its controller does
    assert lab.runner().records() == (finished(),)
    (earlier,) = lab.runner(run="11111111").earlier()
    assert earlier.trial == finished() and earlier.run == record["labels"]["katibflow/run"]
    order = [(each.verb, each.resource) for each in lab.server.requests]
    assert order.index(("create", "configmaps")) < order.index(("patch", lab.plural))


def test_a_stopped_job_with_a_lifetime_is_deleted(lab: Lab, maps: dict[str, Any]) -> None:
    lab.template_of(LIFETIMES["Job"])
    future, watch, stop = lab.begin(runs_for_ever)
    watch.wait_for_line("begun")
    stop.set("goal reached")
    assert future.result(20).state is JobState.STOPPED
    lab.runner().record(trial(0, TrialState.KILLED))
    assert lab.server.objects["jobs"] == {}
    assert [each.state for each in lab.runner().records()] == [TrialState.KILLED]


def test_without_the_right_the_jobs_stay(lab: Lab) -> None:
    lab.template_of(LIFETIMES["Job"])
    lab.run(completes())
    told: list[str] = []
    runner = lab.runner(tell=told.append)
    for _ in range(2):
        runner.record(finished())  # type: ignore[arg-type]
    assert lab.runner(tell=told.append).records() == (finished(),)
    assert "ttlSecondsAfterFinished" not in lab.object()["spec"]
    assert [text.split(",")[0].split(":")[0] for text in told] == [
        "spec.ttlSecondsAfterFinished is not applied",
        "the records in ConfigMaps cannot be read",
    ]
    assert all("name: katibflow-records" in text for text in told)


def leave(lab: Lab) -> None:
    gone = {
        "metadata": {"deletionTimestamp": lab.server.now(), "finalizers": ["foregroundDeletion"]}
    }
    lab.server.patch("jobs", NAME, gone)


def test_a_job_that_is_being_deleted_is_no_record(lab: Lab, maps: dict[str, Any]) -> None:
    """It accepts the patch, and goes with it."""
    lab.run(completes())
    leave(lab)
    lab.runner().record(finished())  # type: ignore[arg-type]
    lab.server.delete("jobs", NAME)
    assert lab.runner().records() == (finished(),)


def test_a_record_on_a_job_that_is_being_deleted_is_kept(lab: Lab, maps: dict[str, Any]) -> None:
    lab.run(completes())
    lab.runner().record(finished())  # type: ignore[arg-type]
    leave(lab)
    assert lab.runner().records() == (finished(),)
    lab.server.delete("jobs", NAME)
    assert lab.runner().records() == (finished(),)


def test_without_the_right_a_suspended_job_takes_its_place(lab: Lab) -> None:
    lab.run(completes())
    leave(lab)
    before = lab.server.count("watch", "jobs")
    with ThreadPoolExecutor() as pool:
        done = pool.submit(lab.runner().record, finished())  # type: ignore[arg-type]
        lab.server.wait_for(lambda: lab.server.count("watch", "jobs") > before)
        lab.server.delete("jobs", NAME)
        done.result(20)
    assert lab.object()["spec"]["suspend"] is True
    assert lab.runner().records() == (finished(),)


def test_a_running_trial_whose_job_is_being_deleted_is_run_again(lab: Lab) -> None:
    future, watch, stop = lab.begin(runs_for_ever)
    watch.wait_for_line("begun")
    stop.set("interrupted")
    future.result(20)
    lab.server.patch("jobs", NAME, {"metadata": {"annotations": {"katibflow/stopped": None}}})
    leave(lab)
    (found,) = lab.runner().records()
    assert (found.state, found.start) == (TrialState.RUNNING, None)
