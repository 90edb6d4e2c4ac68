"""Tests which pod holds the metrics, and the meaning of a pod's status."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.runners.kubernetes.causes import Prospect
from katibflow.runners.kubernetes.pods import (
    Container,
    Pod,
    findings,
    held_open,
    primary_pods,
    read_pod,
    replica_name,
)

MASTER = {"training.kubeflow.org/job-role": "master"}


def pod(name: str, index: int = 0, kind: str = "", **more: Any) -> Pod:
    labels = {"training.kubeflow.org/replica-index": str(index)} if kind else {}
    if kind:
        labels["training.kubeflow.org/replica-type"] = kind
    labels |= more.pop("labels", {})
    return Pod(name, uid=name, labels=labels, containers=(Container("main"),), **more)


def names(pods: tuple[Pod, ...]) -> list[str]:
    return [item.name for item in pods]


def test_rank_0_of_a_pytorch_job_is_its_master() -> None:
    pods = [pod("w0", 0, "worker"), pod("m", 0, "master", labels=MASTER), pod("w1", 1, "worker")]
    assert names(primary_pods(pods, None, "main", "Master", 3)) == ["m"]


def test_a_pytorch_job_waits_for_its_master_even_while_a_worker_is_there() -> None:
    assert primary_pods([pod("w0", 0, "worker")], None, "main", "Master", 2) == ()


def test_the_labels_choose_the_pod_of_other_kinds() -> None:
    pods = [pod("ps", 0, "ps"), pod("w0", 0, "worker", labels=MASTER), pod("w1", 1, "worker")]
    assert names(primary_pods(pods, MASTER, "main", "Worker", 3)) == ["w0"]


def test_labels_that_no_pod_has_fall_back_to_the_first_replica_when_all_are_there() -> None:
    pods = [pod("ps", 0, "ps"), pod("w1", 1, "worker")]
    assert primary_pods(pods, MASTER, "main", "Worker", 3) == ()
    pods.append(pod("w0", 0, "worker"))
    assert names(primary_pods(pods, MASTER, "main", "Worker", 3)) == ["w0"]


def test_a_pod_without_the_container_is_never_chosen() -> None:
    assert primary_pods([pod("a")], {}, "other", "", 1) == ()


def test_tries_of_one_replica_come_oldest_first() -> None:
    pods = [pod("b", created="2026-01-01T00:00:01Z"), pod("a", created="2026-01-01T00:00:02Z")]
    assert names(primary_pods(pods, {}, "main", "", 1)) == ["b", "a"]


def test_our_own_label_names_a_replica() -> None:
    item = pod("x", 2, "", labels={"katibflow/replica": "worker"})
    assert replica_name(item) == "worker-0"
    assert replica_name(pod("x", 2, "Worker")) == "worker-2"
    assert replica_name(pod("alone")) == "alone"


def test_a_native_sidecar_is_not_taken_for_an_init_container_that_never_ends() -> None:
    body = {
        "metadata": {"name": "p"},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [{"name": "proxy", "restartPolicy": "Always"}, {"name": "init"}],
            "containers": [{"name": "main"}],
        },
        "status": {
            "phase": "Running",
            "initContainerStatuses": [{"name": "proxy", "state": {"running": {}}}],
            "containerStatuses": [{"name": "main", "state": {"running": {}}}],
        },
    }
    assert list(findings(read_pod(body), "main", None)) == []
    assert held_open([read_pod(body)], "main", 1) is None


RUNNING = Container("main", state="running")
DONE = Container("main", state="terminated", exit_code=0)


def test_a_native_sidecar_keeps_the_work_waiting_and_no_more() -> None:
    native = Container("proxy", native=True, state="waiting", reason="CrashLoopBackOff", restarts=2)
    waiting = Container("main", state="waiting", reason="PodInitializing")

    def prospects(main: Container) -> list[Prospect]:
        item = Pod("p", restarting=True, containers=(native, main))
        return [each.prospect for each in findings(item, "main", None)]

    assert prospects(waiting) == [Prospect.WAITING]
    assert prospects(RUNNING) == [Prospect.REMARK]
    assert prospects(DONE) == []


@pytest.mark.parametrize(
    ("code", "allowed", "prospect"),
    [(137, None, Prospect.HOPELESS), (1, None, Prospect.CONTROLLER), (137, 2, Prospect.CONTROLLER)],
)
def test_a_killed_process_is_hopeless_if_it_was_the_main_one_and_nothing_allows_for_it(
    code: int, allowed: int | None, prospect: Prospect
) -> None:
    main = Container("main", state="terminated", reason="OOMKilled", exit_code=code)
    (found,) = findings(Pod("p", phase="Running", containers=(main,)), "main", allowed)
    assert (found.reason, found.prospect) == ("OOMKilled", prospect)
    assert found.message.startswith("killed for want of memory" if code == 137 else "a process of")


def test_a_container_that_ended_well_was_not_killed() -> None:
    main = Container("main", state="terminated", reason="OOMKilled", exit_code=0)
    assert not list(findings(Pod("p", phase="Running", containers=(main,)), "main", None))


@pytest.mark.parametrize(
    ("reason", "prospect"),
    [
        ("ContainerCreating", Prospect.SLOW),
        ("ErrImagePull", Prospect.WAITING),
        ("ImagePullBackOff", Prospect.WAITING),
        ("CreateContainerConfigError", Prospect.SETTLING),
        ("RunContainerError", Prospect.SETTLING),
        ("SomethingNew", Prospect.SETTLING),
        ("InvalidImageName", Prospect.HOPELESS),
        ("CrashLoopBackOff", Prospect.HOPELESS),
    ],
)
def test_a_waiting_containers_prospect(reason: str, prospect: Prospect) -> None:
    item = Pod("p", containers=(Container("main", state="waiting", reason=reason),))
    (finding,) = findings(item, "main", None)
    assert (finding.reason, finding.prospect) == (reason, prospect)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=5,
    )
)
def test_an_empty_status_of_any_age_can_be_read(noise: object) -> None:
    body = {
        "metadata": {"name": "p", "noise": noise},
        "spec": {"containers": [{"name": "main"}], "noise": noise},
        "status": {"noise": noise},
    }
    (finding,) = findings(read_pod(body), "main", None)
    assert finding.prospect is Prospect.SLOW
