"""The exit handler stops what is unfinished of its own run, and nothing else."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import yaml

from katibflow.components.finish import finish
from katibflow.experiment.job_kinds import kind_of
from katibflow.runners.kubernetes.job_object import merged, record_patch
from katibflow.steps import start, suggestion
from katibflow.steps.files import read_study
from katibflow.steps.leaving import document_mark
from katibflow.study.history import Observation, Trial, TrialState
from katibflow.study.resume import run_name
from tests.doubles.kubernetes.server import NAMESPACE, ApiServer
from tests.e2e.workflows import workflow
from tests.shell_trials import ROOM, document, outputs, processes_below

RUN = "the-run"
COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}
EVICTED = {"conditions": [{"type": "Evicted", "status": "True"}]}
JOB = json.dumps({"trialSpec": {"apiVersion": "batch/v1", "kind": "Job"}})

_LAUNCH = """
import sys
from types import SimpleNamespace
from katibflow.steps import launcher
launcher(*sys.argv[1:3], SimpleNamespace(path=sys.argv[3], metadata={}))
"""


def _finish(
    folder: Path, environment: dict[str, str], status: str = "COMPLETE", **changes: Any
) -> str:
    """Runs the component, and returns what it printed and, as its last line, what it showed."""
    given = {"run": RUN, "name": "sample", "document": "", "packages": "", "job": JOB}
    given |= {"layout": "controller", "library": "", "room": ROOM} | changes
    names = ("study", "page", "text", "metrics")
    made = dict(zip(names, outputs(folder, *names), strict=True))
    printed = io.StringIO()
    with mock.patch.dict(os.environ, environment), redirect_stdout(printed):
        finish(**made, status=SimpleNamespace(state=status), **given)  # type: ignore[arg-type]
    shown = {name: artifact.metadata for name, artifact in made.items()}
    return f"{printed.getvalue()}{json.dumps(shown)}\n"


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
    failing = {"conditions": [{"type": "Failed", "status": "False"}], "startTime": "now"}
    server = ApiServer()
    try:
        for job in (
            _job("running", own, status=failing),
            _job("ended", own, status=COMPLETE),
            _job("recorded", own, labels={"katibflow/state": "FAIL"}),
            _job("of-another-run", "ffffffff"),
            _job("of-another-experiment", own, labels={"katibflow/experiment": "other"}),
        ):
            server.put("jobs", job, "ADDED")
        server.put("pytorchjobs", _job("other-kind", own, kind="PyTorchJob"), "ADDED")
        environment = kubeconfig(tmp_path, server)
        assert _finish(tmp_path, environment).splitlines()[0] == "stopped running"
        over = "the pipeline run is over"
        stopped = {
            name: body["metadata"].get("annotations", {}).get("katibflow/stopped")
            for name, body in server.objects["jobs"].items()
        }
        assert stopped == {
            "running": over,
            "ended": None,
            "recorded": None,
            "of-another-run": None,
            "of-another-experiment": None,
        }
        assert server.objects["jobs"]["running"]["spec"] == {"suspend": True}
        assert server.objects["pytorchjobs"]["other-kind"]["spec"] == {}
    finally:
        server.down()


def test_trials_that_it_stops_are_on_record_as_ended(tmp_path: Path) -> None:
    server = ApiServer()
    try:
        for number, status in enumerate(({}, COMPLETE)):
            server.put("jobs", _trial(number, status), "ADDED")
        environment = kubeconfig(tmp_path, server)
        _finish(tmp_path, environment)
        records = [
            json.loads(body["metadata"]["annotations"]["katibflow/record"])
            for body in server.objects["jobs"].values()
        ]
        for record in records:
            assert (record["state"], record["reason"]) == ("KILLED", "TrialInterrupted")
            assert record["start"] == "2026-01-31T09:30:00.000+00:00"
            assert record["end"] > record["start"]
        asked = len(server.requests)
        _finish(tmp_path, environment)
        assert not [each for each in server.requests[asked:] if each.verb != "list"]
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
            workload |= {"spec": {"active": True}, "status": EVICTED}  # as after a preemption
            server.put("workloads", workload, "ADDED")
        if not may:
            verbs = ["list", "patch", "delete"]
            server.rules = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": verbs}]
        _finish(tmp_path, kubeconfig(tmp_path, server))
        active = {
            name: body["spec"]["active"] for name, body in server.objects["workloads"].items()
        }
        stopped = [
            r.name
            for r in server.requests
            if r.verb == "delete" or (r.verb == "patch" and "spec" in r.body)
        ]
        if may:
            assert active == {"job-running": False, "job-waiting": False, "job-another": True}
            assert stopped == ["job-waiting", "waiting", "job-running", "running"]
            assert all(server.objects["jobs"][name]["spec"]["suspend"] for name in stopped[1::2])
        else:
            assert set(server.objects["jobs"]) == {"another"}
            assert stopped == ["waiting", "running"]
    finally:
        server.down()


@pytest.mark.parametrize("name", ["Bad Name", "", "x,y"])
def test_a_wrong_name_has_nothing_to_stop(tmp_path: Path, name: str) -> None:
    server = ApiServer()
    try:
        _finish(tmp_path, kubeconfig(tmp_path, server), name=name)
        assert not [each for each in server.requests if each.resource == "jobs"]
    finally:
        server.down()


def test_a_stopped_run_leaves_its_study_and_its_report(tmp_path: Path) -> None:
    server = ApiServer()
    text = json.dumps(document("echo loss=1"))
    try:
        server.put("workflows", _workflow(text), "ADDED")
        finished = _trial(0, COMPLETE)
        record = Trial(
            0,
            TrialState.COMPLETE,
            {"x": "7"},
            {"loss": Observation(1e-7, 1e-7, 1e-7)},
            job=finished["metadata"]["name"],
        )
        server.put("jobs", merged(finished, record_patch(record)), "ADDED")
        server.put("jobs", _trial(1, {}), "ADDED")
        environment = kubeconfig(tmp_path, server)
        mark = document_mark(text)
        said = _finish(tmp_path, environment, "RUNNING", document=mark, maxTrialCount="5")
        history = read_study(str(tmp_path / "study"))
        assert [trial.state for trial in history.trials] == [
            TrialState.COMPLETE,
            TrialState.KILLED,
        ]
        assert history.experiment.spec.max_trial_count == 5
        for name in ("page", "text"):
            assert "PipelineEnded" in (tmp_path / name).read_text(encoding="utf-8")
        made = json.loads(said.splitlines()[-1])
        assert made["study"] == {"display_name": "study at the end"}
        # Kubeflow Pipelines keeps six decimals of a number.
        assert made["metrics"]["best loss"] == 1e-7
        assert made["metrics"]["best loss, exactly"] == "1e-07"
    finally:
        server.down()


@pytest.mark.parametrize("status", ["COMPLETE", "SUCCEEDED"])
def test_a_run_that_succeeded_has_its_report_already(tmp_path: Path, status: str) -> None:
    server = ApiServer()
    text = json.dumps(document("echo loss=1"))
    try:
        server.put("workflows", _workflow(text), "ADDED")
        server.put("jobs", _trial(0, COMPLETE), "ADDED")
        _finish(tmp_path, kubeconfig(tmp_path, server), status, document=document_mark(text))
        assert len(read_study(str(tmp_path / "study")).trials) == 1
        assert not (tmp_path / "page").exists()
    finally:
        server.down()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"document": "another"},
            "the run's own Workflow, which has the Experiment, was not found",
        ),
        ({"parallelTrialCount": "many"}, "no trial could begin: the run's parameters"),
        ({}, "no trial has begun"),
    ],
)
def test_a_run_without_trials_has_no_report(
    tmp_path: Path, changes: dict[str, str], why: str
) -> None:
    server = ApiServer()
    text = json.dumps(document("echo loss=1"))
    try:
        server.put("workflows", _workflow(text), "ADDED")
        told = {"document": document_mark(text), **changes}
        said = _finish(tmp_path, kubeconfig(tmp_path, server), "FAILED", **told)
        assert why in said
        assert not (tmp_path / "page").exists()
    finally:
        server.down()


def _workflow(text: str) -> dict[str, Any]:
    task = {"inputs": {"parameters": {"experiment": {"runtimeValue": {"constant": text}}}}}
    dag = {"dag": {"tasks": {"controller": task, "library": {"componentRef": {"name": "x"}}}}}
    arguments = {"components-comp-exit-handler-1": json.dumps(dag), "implementations-1": '"x"'}
    return workflow("own", RUN, arguments)


def _trial(number: int, status: dict[str, Any]) -> dict[str, Any]:
    """A job of this run with the record that it gets when it is created."""
    run = run_name(RUN)
    job = _job(
        f"sample-{run}-{number}", run, labels={"katibflow/trial": str(number)}, status=status
    )
    record = Trial(number, TrialState.RUNNING, {"x": "7"}, job=job["metadata"]["name"])
    job["metadata"]["creationTimestamp"] = "2026-01-31T09:30:00Z"
    return merged(job, record_patch(record))


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
        ("ray.io/v1", "RayJob", {"jobStatus": "FAILED", "jobDeploymentStatus": "Failed"}),
        ("ray.io/v1", "RayJob", {"jobStatus": "SUCCEEDED", "jobDeploymentStatus": "Complete"}),
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
        spec = {"trialSpec": {"apiVersion": api, "kind": kind}}
        _finish(tmp_path, environment, job=json.dumps(spec))
        patched = [request.name for request in server.requests if request.verb == "patch"]
        assert patched == ["running"]
    finally:
        server.down()
