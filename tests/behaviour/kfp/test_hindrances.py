"""What hinders a trial is told where people look at a run: by the follower and by ``show``."""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.client.following import follow
from katibflow.client.reading import find_experiment_run
from katibflow.client.records import JobRecords, cluster_of
from katibflow.engine.events import TrialNotice, TrialsTakenOver, TrialStarted
from katibflow.study.history import TrialState
from katibflow.study.resume import run_name
from tests.doubles.kfp.lab import experiment_file, katibflow, put_pod, put_trial
from tests.doubles.kfp.server import KfpServer, Play
from tests.doubles.kubernetes.lab import Lab
from tests.paths import RECORDED


def submitted(server: KfpServer, folder: Path, *words: str) -> dict[str, Any]:
    fixed = ("--host", server.url, "--image", "python:x", "--no-wait", "--json")
    done = katibflow("submit", str(experiment_file(folder)), *fixed, *words)
    assert done.code == 0, done.err
    run = server.runs[json.loads(done.out)["run"]]
    Play(server, run).state("RUNNING")
    return run


def recorded_pod(case: str, reason: str, run: str, number: int) -> dict[str, Any]:
    """The last pod of a recorded trial that gives the reason, as one of another run's trial."""
    lines = gzip.decompress((RECORDED / "trials" / f"{case}.jsonl.gz").read_bytes()).splitlines()
    seen = [json.loads(line).get("object") or {} for line in lines]
    pods = [each for each in seen if each.get("kind") == "Pod" and reason in json.dumps(each)]
    made = copy.deepcopy(pods[-1])
    made["metadata"]["name"] = f"recorded-{number}"
    made["metadata"]["labels"] |= {"katibflow/run": run, "katibflow/trial": str(number)}
    made["metadata"]["labels"]["katibflow/experiment"] = "sample"
    return made


CASES = [
    ("image-missing", "ImagePullBackOff", 'ImagePullBackOff: Back-off pulling image "registry.'),
    ("selector-matches-no-node", "Unschedulable", "Unschedulable: 0/"),
    ("secret-missing", "CreateContainerConfigError", 'CreateContainerConfigError: secret "'),
]


@pytest.mark.parametrize(("case", "reason", "words"), CASES, ids=[case for case, *_ in CASES])
def test_a_stuck_trial_is_named_while_the_run_goes_on(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path, case: str, reason: str, words: str
) -> None:
    run = submitted(kfp_server, tmp_path)
    name = run_name(run["run_id"])
    put_trial(cluster.server, run["run_id"], 0)
    job = f"sample-{name}-0"
    created = "2026-01-01T00:00:00Z"
    cluster.server.objects["jobs"][job]["metadata"]["creationTimestamp"] = created
    cluster.server.create("pods", recorded_pod(case, reason, name, 0))
    pipelines = connect(Access(kfp_server.url))
    experiment_run = find_experiment_run(pipelines, run["run_id"])
    records = JobRecords.of(cluster_of("", None), experiment_run)
    shown, looks = Shown(), iter([False, True])
    follow(pipelines, run["run_id"], records, shown, lambda: next(looks))
    first, notice = shown.updates  # told once, though it was seen twice
    assert isinstance(first, TrialStarted)
    assert isinstance(notice, TrialNotice)
    assert words in notice.text
    row = katibflow("show", run["run_id"], "--host", kfp_server.url).out.splitlines()[1]
    assert row.split()[:2] == ["0", "RUNNING"]
    assert notice.text in row
    data = json.loads(katibflow("show", run["run_id"], "--json", "--host", kfp_server.url).out)
    assert data["history"][0]["message"] == notice.text


def test_the_kubelet_s_two_words_for_an_image_are_one_notice(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    run = submitted(kfp_server, tmp_path)
    name = run_name(run["run_id"])
    put_trial(cluster.server, run["run_id"], 0)
    pods = [
        recorded_pod("image-missing", f'"{reason}"', name, 0)
        for reason in ("ErrImagePull", "ImagePullBackOff")
    ]
    experiment_run = find_experiment_run(connect(Access(kfp_server.url)), run["run_id"])
    records = JobRecords.of(cluster_of("", None), experiment_run)
    said = []
    for pod in (pods[0], pods[1], pods[0]):
        cluster.server.put("pods", pod)
        said.append(records.history().trials[0].message)
    assert said[0].startswith("pod recorded-0, container main: ErrImagePull")
    assert said == said[:1] * 3


def test_where_pods_may_not_be_read_the_trials_are_shown_without(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    run = submitted(kfp_server, tmp_path)
    put_trial(cluster.server, run["run_id"], 0)
    jobs = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list"]}
    cluster.server.rules = [jobs]
    done = katibflow("show", run["run_id"], "--host", kfp_server.url)
    assert done.out.splitlines()[1].split()[:2] == ["0", "RUNNING"]
    asked = [each for each in cluster.server.requests if "/pods" in str(each)]
    assert len(asked) <= 1


def test_trials_of_earlier_runs_are_told_as_such(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    first = submitted(kfp_server, tmp_path)
    Play(kfp_server, first).state("SUCCEEDED")
    for number, value in enumerate((0.5, 0.25)):
        put_trial(cluster.server, first["run_id"], number, value, end="2026-01-01T00:00:10+00:00")
    run = submitted(kfp_server, tmp_path, "--resume", "all")
    put_trial(cluster.server, run["run_id"], 2)
    pipelines = connect(Access(kfp_server.url))
    experiment_run = find_experiment_run(pipelines, run["run_id"])
    records = JobRecords.of(cluster_of("", None), experiment_run)
    shown = Shown()
    follow(pipelines, run["run_id"], records, shown, lambda: True)
    assert [trial.number for trial in shown.taken] == [0, 1]
    assert all(trial.state is TrialState.COMPLETE for trial in shown.taken)
    started = [each.trial.number for each in shown.updates if isinstance(each, TrialStarted)]
    assert started == [2]
    Play(kfp_server, run).state("FAILED")
    text = katibflow("show", run["run_id"], "--follow", "--host", kfp_server.url).out
    assert "2 trials of earlier runs count (best loss=0.25 in trial 1)" in text
    assert "trial 0" not in text


class Shown:
    """A screen that keeps what it shows."""

    def __init__(self) -> None:
        self.updates: list[Any] = []
        self.taken: list[Any] = []

    def taken_over(self, trials: Any) -> None:
        self.taken += TrialsTakenOver(tuple(trials)).trials

    def update(self, update: Any) -> None:
        self.updates.append(update)

    def steps(self, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def test_wrong_parameters_are_told_once(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    run = submitted(kfp_server, tmp_path)
    run["runtime_config"] = {"parameters": {"name": "Bad Name", "maxTrialCount": "x"}}
    Play(kfp_server, run).step("start", "FAILED")
    Play(kfp_server, run).state("FAILED")
    text = 'katibflow: the run\'s parameters: metadata.name: found "Bad Name"'
    node = {"workflows.argoproj.io/node-name": "wf.root.start.executor"}
    put_pod(cluster, "wf-start", {"pipeline/runid": run["run_id"]}, ["main"], node, main=[text])
    done = katibflow("show", run["run_id"], "--host", kfp_server.url)
    assert done.err == ""
    assert done.out.count('metadata.name: found "Bad Name"; allowed') == 1
    assert done.out.count('spec.maxTrialCount: found "x"; allowed: a whole number') == 1
    assert katibflow("list", "--host", kfp_server.url).code == 0
