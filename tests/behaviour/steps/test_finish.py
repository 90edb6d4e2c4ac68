"""The exit handler stops what is unfinished of its own run, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.experiment.job_kinds import kind_of
from katibflow.runners.kubernetes.job_object import stop_patch
from katibflow.steps import start, suggestion
from katibflow.study.resume import run_name
from tests.doubles.kubernetes.server import NAMESPACE, ApiServer
from tests.shell_trials import ROOM, document, outputs, processes_below

RUN = "the-run"

_LAUNCH = """
import sys
from types import SimpleNamespace
from katibflow.steps import launcher
launcher(*sys.argv[1:3], SimpleNamespace(path=sys.argv[3], metadata={}))
"""
_FINISH = (
    "import json, sys; from katibflow.components.finish import finish; "
    "finish(**json.loads(sys.argv[1]))"
)


def _finish(tmp_path: Path, environment: dict[str, str], **arguments: str) -> None:
    told = {"run": RUN, "name": "sample", "status": "", "group": "batch", "version": "v1"}
    told |= {"plural": "jobs", "stop": ""}
    subprocess.run(
        [sys.executable, "-c", _FINISH, json.dumps(told | arguments)],
        cwd=tmp_path,
        env={**os.environ, **environment},
        check=True,
    )


@pytest.mark.parametrize("is_old", [False, True], ids=["", "a pipeline of version 0.1.0"])
def test_local_trials_of_a_killed_launcher_are_ended(tmp_path: Path, is_old: bool) -> None:
    environment = {"KATIBFLOW_RUNNER": "local", "KATIBFLOW_RUNS": str(tmp_path / "runs")}
    study, log = outputs(tmp_path, "study", "log")
    text = json.dumps(document("echo started; sleep 600"))
    start(text, {"parallelTrialCount": "1"}, "rounds", RUN, "", ROOM, study)
    (item,) = suggestion(study.path)
    launcher = subprocess.Popen(
        [sys.executable, "-c", _LAUNCH, study.path, item, log.path],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    with launcher:
        assert launcher.stdout is not None
        assert any("started" in line for line in launcher.stdout)
        launcher.kill()
    assert processes_below(tmp_path / "runs")
    _finish(tmp_path, environment, name="another")
    assert processes_below(tmp_path / "runs")
    if is_old:  # its component hands over the folder of the run
        folder = f"{tmp_path}/runs/sample-{run_name(RUN)}"
        code = f"from katibflow import steps; steps.finish({folder!r})"
        subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, check=True)
    else:
        _finish(tmp_path, environment)
    assert not processes_below(tmp_path / "runs")


def _job(name: str, run: str, *, kind: str = "Job", **more: Any) -> dict[str, Any]:
    api = "batch/v1" if kind == "Job" else "kubeflow.org/v1"
    labels = {
        "katibflow/experiment": "sample",
        "katibflow/run": run,
        **more.pop("labels", {}),
    }
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {},
        **more,
    }


def test_jobs_of_this_run_are_stopped_on_kubernetes(tmp_path: Path) -> None:
    own = run_name(RUN)
    complete = {"conditions": [{"type": "Complete", "status": "True"}]}
    failing = {"conditions": [{"type": "Failed", "status": "False"}], "startTime": "now"}
    server = ApiServer()
    try:
        for job in (
            _job("running", own, status=failing),
            _job("ended", own, status=complete),
            _job("recorded", own, labels={"katibflow/state": "FAIL"}),
            _job("of-another-run", "ffffffff"),
            _job("of-another-experiment", own, labels={"katibflow/experiment": "other"}),
        ):
            server.put("jobs", job, "ADDED")
        server.put("pytorchjobs", _job("other-kind", own, kind="PyTorchJob"), "ADDED")
        environment = kubeconfig(tmp_path, server)
        stop = json.dumps(stop_patch(kind_of(_job("x", own)), "over"))
        _finish(tmp_path, environment, stop=stop)
        stopped = {
            name: body["metadata"].get("annotations", {}).get("katibflow/stopped")
            for name, body in server.objects["jobs"].items()
        }
        assert stopped == {
            "running": "over",
            "ended": None,
            "recorded": None,
            "of-another-run": None,
            "of-another-experiment": None,
        }
        assert server.objects["jobs"]["running"]["spec"] == {"suspend": True}
        assert server.objects["pytorchjobs"]["other-kind"]["spec"] == {}
        _finish(tmp_path, environment, stop="", group="kubeflow.org", plural="pytorchjobs")
        assert not server.objects["pytorchjobs"]
        assert set(server.objects["jobs"]) == set(stopped)
    finally:
        server.down()


@pytest.mark.parametrize("may", [True, False], ids=["may deactivate", "may not"])
def test_jobs_in_a_queue_are_stopped_for_good(tmp_path: Path, may: bool) -> None:
    own, labels = run_name(RUN), {"kueue.x-k8s.io/queue-name": "q"}
    server = ApiServer()
    try:
        for name in ("running", "waiting", "another"):
            job = _job(name, own if name != "another" else "ffffffff", labels=labels)
            job["metadata"]["uid"] = f"uid-of-{name}"
            job["spec"]["suspend"] = name == "waiting"
            server.put("jobs", job, "ADDED")
            label = {"kueue.x-k8s.io/job-uid": f"uid-of-{name}"}
            workload = {"metadata": {"name": f"job-{name}", "labels": label}, "spec": {}}
            server.put("workloads", {**workload, "spec": {"active": True}}, "ADDED")
        if not may:
            verbs = ["list", "patch", "delete"]
            server.rules = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": verbs}]
        stop = json.dumps(stop_patch(kind_of(_job("x", own)), "over"))
        _finish(tmp_path, kubeconfig(tmp_path, server), stop=stop)
        active = {
            name: body["spec"]["active"] for name, body in server.objects["workloads"].items()
        }
        stopped = [r.name for r in server.requests if r.verb in ("patch", "delete")]
        if may:
            assert active == {"job-running": False, "job-waiting": False, "job-another": True}
            assert stopped == ["job-waiting", "waiting", "job-running", "running"]
            assert all(server.objects["jobs"][name]["spec"]["suspend"] for name in stopped[1::2])
        else:
            assert set(server.objects["jobs"]) == {"another"}
            assert stopped == ["waiting", "running"]
    finally:
        server.down()


def kubeconfig(folder: Path, server: ApiServer) -> dict[str, str]:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server.url}}],
        "users": [{"name": "test", "user": {"token": "none"}}],
        "contexts": [
            {
                "name": "test",
                "context": {"cluster": "test", "user": "test", "namespace": NAMESPACE},
            }
        ],
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return {"KATIBFLOW_RUNNER": "kubernetes", "KUBECONFIG": str(path)}


@pytest.mark.parametrize(
    ("api", "kind", "status"),
    [
        ("argoproj.io/v1alpha1", "Workflow", {"phase": "Succeeded", "progress": "1/1"}),
        ("argoproj.io/v1alpha1", "Workflow", {"phase": "Error", "message": "no pod"}),
        ("ray.io/v1", "RayJob", {"jobStatus": "FAILED", "jobDeploymentStatus": "Complete"}),
        ("ray.io/v1", "RayJob", {"jobStatus": "STOPPED", "jobDeploymentStatus": "Running"}),
        ("kubeflow.org/v1", "PyTorchJob", {"conditions": [{"type": "Failed", "status": "True"}]}),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_ended_without_a_record_is_left_as_it_is(
    tmp_path: Path, api: str, kind: str, status: dict[str, Any]
) -> None:
    server = ApiServer()
    known = kind_of({"apiVersion": api, "kind": kind})
    try:
        names = {"ended": status, "running": {"phase": "Running", "jobStatus": "RUNNING"}}
        for name, told in names.items():
            job = _job(name, run_name(RUN), status=told) | {"apiVersion": api, "kind": kind}
            server.put(known.plural, job, "ADDED")
        environment = kubeconfig(tmp_path, server)
        stop = json.dumps(stop_patch(known, "over"))
        version = known.api_version.rpartition("/")[2]
        place = {"group": known.group, "version": version, "plural": known.plural}
        _finish(tmp_path, environment, stop=stop, **place)
        patched = [request.name for request in server.requests if request.verb == "patch"]
        assert patched == ["running"]
    finally:
        server.down()
