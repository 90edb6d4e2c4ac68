"""``katibflow logs``: of steps without the engine's lines, and followed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from katibflow.client.log_following import follow_logs
from katibflow.client.logs import LogSource
from katibflow.client.records import cluster_of
from katibflow.runners.kubernetes.logs import Instance
from katibflow.study.resume import run_name
from tests.behaviour.kfp.test_hindrances import submitted
from tests.doubles.kfp.lab import Done, katibflow, put_pod, put_trial
from tests.doubles.kfp.server import KfpServer, Play
from tests.doubles.kubernetes.lab import Lab
from tests.paths import RECORDED

NODE = "workflows.argoproj.io/node-name"


def step_log(name: str) -> list[str]:
    return (RECORDED / "kfp" / f"step-{name}.log").read_text(encoding="utf-8").splitlines()


def test_steps_are_shown_without_the_engine_s_lines(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    run = submitted(kfp_server, tmp_path)
    labels, node = {"pipeline/runid": run["run_id"]}, {NODE: "wf(0).root(0).launcher(0).executor"}
    put_pod(cluster, "wf-launcher", labels, ["main"], node, main=step_log("launcher"))
    lines = katibflow("logs", run["run_id"], "--host", kfp_server.url).out.splitlines()
    assert lines[0] == "==> launcher <=="
    assert lines[2] == "working 0.5931628060321871"
    assert len(lines) == 8


@pytest.mark.parametrize(
    ("log", "last"),
    [
        ("wrong-parameters", 'the run\'s parameters: spec.maxTrialCount: found "x"; allowed: a'),
        ("without-packages", "ERROR: No matching distribution found for Jinja2==3.1.6"),
    ],
)
def test_the_last_lines_of_a_failed_step_are_its_own(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path, log: str, last: str
) -> None:
    run = submitted(kfp_server, tmp_path)
    Play(kfp_server, run).step("report", "FAILED")
    Play(kfp_server, run).state("FAILED")
    labels, node = {"pipeline/runid": run["run_id"]}, {NODE: "wf(0).root(0).report(0).executor"}
    put_pod(cluster, "wf-report", labels, ["main"], node, main=step_log(log))
    told = katibflow("show", run["run_id"], "--host", kfp_server.url).err.splitlines()
    assert told[0] == "==> report <=="
    assert told[-1].startswith(last)
    assert len(told) == 3


def test_a_launcher_that_fails_by_itself_is_quoted(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    run = submitted(kfp_server, tmp_path)
    Play(kfp_server, run).step("start", "FAILED")
    Play(kfp_server, run).state("FAILED")
    lines = ["F1129 00:26:35.178639      17 main.go:130] failed to execute component: no bucket"]
    labels, node = {"pipeline/runid": run["run_id"]}, {NODE: "wf(0).root(0).start(0).executor"}
    put_pod(cluster, "wf-start", labels, ["main"], node, main=lines)
    told = katibflow("show", run["run_id"], "--host", kfp_server.url).err.splitlines()
    assert told == ["==> start <==", "failed to execute component: no bucket"]


def running_pod(cluster: Lab, name: str, labels: dict[str, str]) -> Any:
    """A pod that runs, and its log, which goes on."""
    put_pod(cluster, name, labels, ["main"])
    cluster.server.patch(
        "pods",
        name,
        {
            "metadata": {"uid": name},
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "main", "state": {"running": {}}, "restartCount": 0}
                ],
            },
        },
    )
    log = cluster.server.log(name, "main", 0)
    log.ended = False
    return log


def test_a_trial_is_followed_to_its_end(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    run = submitted(kfp_server, tmp_path)
    put_trial(cluster.server, run["run_id"], 0)
    labels = {"katibflow/run": run_name(run["run_id"]), "katibflow/trial": "0"}
    log = running_pod(cluster, "pod", labels)
    done: list[Done] = []
    words = ("logs", run["run_id"], "0", "--follow", "--poll", "0.1", "--host", kfp_server.url)
    following = threading.Thread(target=lambda: done.append(katibflow(*words)))
    following.start()
    cluster.server.wait_for(lambda: cluster.server.count("get", "pods/log") > 0)
    log.add([(cluster.server.now(), "epoch 1"), (cluster.server.now(), "loss=0.5")])
    put_trial(cluster.server, run["run_id"], 0, 0.5)
    log.end()
    following.join(60)
    assert done[0].err == ""
    assert done[0].out == "==> pod <==\nepoch 1\nloss=0.5\n"
    assert done[0].code == 0


def test_each_log_says_whose_it_is_where_they_alternate(cluster: Lab) -> None:
    """A pod that comes later is followed too."""
    names = ["first", "second"]
    for name in names:
        put_pod(cluster, name, {}, ["main"], main=[f"of {name}"])

    def sources() -> Iterator[LogSource]:
        for name in names[: len(looks)]:
            yield LogSource(name, Instance(name, name, "main", 0), True, True)

    looks: list[bool] = []

    def is_over() -> bool:
        looks.append(True)
        return len(looks) == 2

    api = cluster_of("", None)
    found = follow_logs(api, sources, is_over, 0.05, lambda: lambda line: True)
    assert sorted(found) == [("first", "of first"), ("second", "of second")]
