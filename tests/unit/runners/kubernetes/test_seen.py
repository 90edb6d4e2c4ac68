"""Tests the observed states of a trial's pods, and whether they explain the job's end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from katibflow.experiment import job_kinds
from katibflow.runners.kubernetes.conditions import Conditions
from katibflow.runners.kubernetes.job_object import Shape
from katibflow.runners.kubernetes.pods import Container, Pod
from katibflow.runners.kubernetes.seen import Seen, Terms, accounted_for, alive, primaries, unread
from tests.doubles.kubernetes.lab import batch_job, pytorch_job


def terms(manifest: dict[str, Any]) -> Terms:
    kind = job_kinds.kind_of(manifest)
    assert kind.success_condition and kind.failure_condition
    return Terms(
        "job",
        kind,
        Shape.of(manifest),
        Conditions(kind.success_condition, kind.failure_condition),
        None if kind.replica_specs else {},
        "main",
    )


def pod(name: str, phase: str = "Running", code: int | None = None, **more: Any) -> Pod:
    state = "running" if code is None else "terminated"
    kind, _, index = name.partition("-")
    return Pod(
        f"job-{name}",
        uid=name,
        labels={"katibflow/replica": kind, "training.kubeflow.org/replica-index": index},
        phase=phase,
        containers=(Container("main", state=state, exit_code=code), Container("side")),
        **more,
    )


def seen(*pods: Pod, of: Terms) -> Seen:
    so_far = Seen()
    for each in pods:
        so_far = so_far.with_pod(of, each)
    return so_far


JOB, PAIR = terms(batch_job()), terms(pytorch_job())


def test_all_pods_were_there_at_a_time() -> None:
    first, second = pod("master-0"), pod("worker-0")
    assert not seen(first, of=PAIR).complete
    assert not seen(first, replace(second, deleting=True), of=PAIR).complete
    both = seen(first, second, of=PAIR)
    assert both.complete and both.without_pod("job-worker-0").complete
    assert list(both.without_pod("job-worker-0").pods) == ["job-master-0"]


def test_what_says_most_is_kept_as_the_cause() -> None:
    crashed = pod("master-0", "Failed", 1)
    killed = pod("worker-0", "Failed", 137)
    (main, side) = killed.containers
    killed = replace(killed, containers=(replace(main, reason="OOMKilled"), side))
    for order in ((crashed, killed), (killed, crashed)):
        cause = seen(*order, of=PAIR).cause
        assert cause is not None and cause.reason == "OOMKilled"
    cause = seen(crashed, of=PAIR).without_pod("job-master-0").cause
    assert cause is not None and cause.reason == "ReplicaFailed"


def test_a_slow_start_is_no_cause() -> None:
    waiting = Pod("p", containers=(Container("main", state="waiting", reason="ErrImagePull"),))
    assert seen(waiting, of=JOB).cause is None


@pytest.mark.parametrize(
    ("pods", "failed", "has_log", "expected"),
    [
        ((), False, True, False),
        ((), True, True, False),
        ((pod("a"),), False, True, True),
        ((pod("a"),), False, False, False),
        ((pod("a", "Failed", 1),), False, True, False),  # another one takes its place
        ((pod("a"),), True, True, False),
        ((pod("a", "Failed", 1),), True, False, True),
        ((pod("a", "Succeeded", 0),), True, False, True),
    ],
)
def test_whether_the_pods_account_for_their_jobs_end(
    pods: tuple[Pod, ...], failed: bool, has_log: bool, expected: bool
) -> None:
    assert accounted_for(JOB, seen(*pods, of=JOB), failed, has_log) is expected


@pytest.mark.parametrize(
    ("one", "has_source", "goes_on"),
    [
        (pod("a"), False, True),
        (pod("a", code=0), False, False),
        (pod("a", code=0), True, True),
        (pod("a", "Succeeded", 0), True, False),
        (pod("a", "Pending"), False, True),
    ],
)
def test_whether_output_may_go_on(one: Pod, has_source: bool, goes_on: bool) -> None:
    assert bool(unread(JOB, seen(one, of=JOB), has_source)) is goes_on


def test_only_the_pod_with_the_metrics_is_read() -> None:
    both = seen(pod("worker-0"), pod("master-0", code=0), of=PAIR)
    assert [each.name for each in primaries(PAIR, both)] == ["job-master-0"]
    assert unread(PAIR, both, has_source=False) == []
    assert [each.name for each in alive(both)] == ["job-worker-0", "job-master-0"]
