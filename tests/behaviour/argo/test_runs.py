"""``katibflow submit --to argo`` and the commands on its runs, against an API server over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow import Experiment
from katibflow.api.run import Run
from katibflow.errors import InputError, RunnerError
from tests.doubles.kfp.lab import EXPERIMENT, Done, experiment_file, katibflow, put_pod, put_trial
from tests.doubles.kubernetes.lab import Lab
from tests.doubles.kubernetes.server import NAMESPACE

HERE = ("--to", "argo", "--image", "python:katibflow", "--poll", "0.05")
ON = ("--on", "argo")


def submit(folder: Path, *words: str, **spec: object) -> Done:
    changes = {f"spec.{key}": value for key, value in spec.items()}
    return katibflow("submit", str(experiment_file(folder, changes)), *HERE, *words)


def body_of(cluster: Lab) -> dict[str, Any]:
    (body,) = cluster.server.objects["workflows"].values()
    return body


def parameters(spec: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in spec["arguments"]["parameters"]}


def node(name: str, phase: str, kind: str = "Retry", **more: Any) -> dict[str, Any]:
    """A node as Argo 4.0 writes it."""
    return {
        "id": f"wf-{name}",
        "name": f"wf[0].{name}",
        "templateName": name,
        "type": kind,
        "phase": phase,
        "startedAt": "2100-01-01T00:00:00Z",
        **more,
    }


def plays(cluster: Lab, *phases: str, trials: int = 2) -> Callable[[dict[str, Any]], None]:
    """Argo's part: phases in turn; before the last one, the trials are put on record."""

    def play(body: dict[str, Any]) -> None:
        metadata = body["metadata"]
        for phase in phases:
            if phase == phases[-1]:
                for number in range(trials):
                    put_trial(cluster.server, metadata["uid"], number, 0.5 - 0.1 * number)
            cluster.server.patch("workflows", metadata["name"], {"status": {"phase": phase}})

    return play


def test_a_workflow_is_created_and_followed_to_its_end(cluster: Lab, tmp_path: Path) -> None:
    cluster.server.argo = plays(cluster, "Running", "Succeeded", trials=4)
    words = "--max-trials 4 --parallel 2 --goal 0.01 --service-account runner --layout rounds"
    done = submit(tmp_path, *words.split())
    assert done.code == 0, done.err
    body = body_of(cluster)
    name = body["metadata"]["name"]
    assert re.fullmatch(rf"{EXPERIMENT}-[a-z0-9]{{5}}", name)
    assert body["spec"]["serviceAccountName"] == "runner"
    given = parameters(body["spec"])
    assert (given["maxTrialCount"], given["parallelTrialCount"], given["goal"]) == (
        "4",
        "2",
        "0.01",
    )
    assert f"Workflow {name}: {NAMESPACE}/{name}" in done.out
    assert "trial 3 complete" in done.out
    assert "ExperimentMaxTrialsReached: 4 trials ended, maxTrialCount is 4" in done.out
    assert f"run: {NAMESPACE}/{name}" in done.out
    assert katibflow("best", name, *ON).out == "x=4\n"
    (listed,) = json.loads(katibflow("list", *ON, "--json").out)["runs"]
    assert (listed["run"], listed["state"]) == (body["metadata"]["uid"], "SUCCEEDED")
    assert listed["trials"] == {"COMPLETE": 4}
    shown = katibflow("show", body["metadata"]["uid"], *ON)
    assert shown.code == 0 and "ExperimentMaxTrialsReached" in shown.out


def test_a_workflow_that_failed_says_which_step_and_why(cluster: Lab, tmp_path: Path) -> None:
    done = submit(tmp_path, "--no-wait", "--json", "--name", "other")
    told = json.loads(done.out)
    assert told["name"].startswith("other-")
    retry = node("start", "Failed", message="No more retries left", children=["wf-try"])
    last = node("start", "Error", "Pod", nodeFlag={"retried": True}, message="no room for the pod")
    status = {
        "phase": "Failed",
        "message": "child 'wf-start' failed",
        "nodes": {"wf-start": retry, "wf-try": last, "wf": node("experiment", "Failed", "Steps")},
    }
    cluster.server.patch("workflows", told["name"], {"status": status})
    labels = {"workflows.argoproj.io/workflow": told["name"]}
    argo_s = 'time="2100-01-01T00:00:00Z" level=info msg="sub-process exited" argo=true'
    put_pod(cluster, f"{told['name']}-start-1", labels, ["main"], main=["the reason", argo_s])
    shown = katibflow("show", told["run"], *ON, "--follow")
    assert shown.code == 1
    assert "failed steps: start; child 'wf-start' failed; start: no room for the pod" in shown.out
    assert "==> start <==\nthe reason\n" in shown.err
    assert "argo=true" not in shown.err
    logs = katibflow("logs", told["name"], *ON)
    assert logs.out == "==> start <==\nthe reason\n"
    followed = katibflow("logs", told["name"], *ON, "--follow", "--poll", "0.05")
    assert followed.out == logs.out


def test_a_trial_s_log_is_that_of_its_pods(cluster: Lab, tmp_path: Path) -> None:
    told = json.loads(submit(tmp_path, "--no-wait", "--json").out)
    begun = put_trial(cluster.server, told["run"], 0, 0.5)
    run = (begun.job or "").split("-")[-2]
    labels = {"katibflow/run": run, "katibflow/trial": "0"}
    put_pod(cluster, "trial-pod", labels, ["main"], main=["loss=0.5"])
    assert "loss=0.5" in katibflow("logs", told["name"], "0", *ON).out
    none = katibflow("logs", told["name"], "7", *ON)
    assert none.code == 2 and "TRIAL: found 7; allowed: 0 to 0" in none.err


def test_stop_shuts_the_workflow_down_and_its_exit_handler_stops_the_jobs(
    cluster: Lab, tmp_path: Path
) -> None:
    told = json.loads(submit(tmp_path, "--no-wait", "--json").out)
    cluster.server.patch("workflows", told["name"], {"status": {"phase": "Running"}})
    done = katibflow("stop", told["name"], *ON)
    assert done.code == 0
    assert done.out == f"{told['name']} is being stopped; its step finish then stops its jobs\n"
    assert body_of(cluster)["spec"]["shutdown"] == "Stop"
    assert "being stopped already" in katibflow("stop", told["name"], *ON).out
    cluster.server.patch("workflows", told["name"], {"status": {"phase": "Failed"}})
    shown = katibflow("show", told["name"], *ON)
    assert "the run was stopped, and Argo Workflows shows it as CANCELED" in shown.out
    assert katibflow("stop", told["name"], *ON).out == f"{told['name']} is over already: CANCELED\n"


@pytest.mark.parametrize(
    ("words", "schedule"),
    [
        (("--schedule", "0 3 * * 7"), "0 3 * * 0"),
        (("--every", "1h30m", "--argo-version", "3.5"), "@every 5400s"),
    ],
)
def test_a_schedule_is_a_cronworkflow_in_utc(
    cluster: Lab, tmp_path: Path, words: tuple[str, ...], schedule: str
) -> None:
    done = submit(tmp_path, *words, "--json", "--name", "nightly")
    assert done.code == 0, done.err
    (body,) = cluster.server.objects["cronworkflows"].values()
    spec = body["spec"]
    assert json.loads(done.out)["recurringRun"] == body["metadata"]["uid"]
    assert (body["metadata"]["name"], spec["timezone"]) == ("nightly", "UTC")
    assert spec.get("schedules", [spec.get("schedule")]) == [schedule]
    assert parameters(spec["workflowSpec"])["resume"] == "none"
    again = submit(tmp_path, *words, "--name", "nightly")
    assert again.code == 2 and 'found "nightly", which recurs already' in again.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "http://h"), "--host: found http://h; allowed: only with --to kfp"),
        (("--kfp-experiment", "x"), "--kfp-experiment: found x; allowed: only with --to kfp"),
        (("--schedule", "5 0 3 * * *"), "as Argo knows no seconds"),
        (("--argo-version", "2.1"), "allowed: 3.5, 3.6, 3.7, 4.0"),
        (("--resume", "0a1b2c3d"), "0a1b2c3d"),
        (("--namespace", "No Name"), "--namespace: found 'No Name'"),
        (("--context", "absent"), "no cluster to run on"),
        (("--max-trials", "20000", "--layout", "rounds"), "spec.maxTrialCount: found 20000"),
    ],
)
def test_bad_options_create_nothing(
    cluster: Lab, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = submit(tmp_path, *words)
    assert done.code == 2, done.err
    assert said in done.err
    assert not cluster.server.objects["workflows"]
    assert not cluster.server.objects["cronworkflows"]


def test_options_for_argo_are_refused_for_kubeflow_pipelines(tmp_path: Path) -> None:
    done = katibflow("submit", str(experiment_file(tmp_path)), "--service-account", "runner")
    assert done.code == 2
    assert "--service-account: found runner; allowed: only with --to argo" in done.err


def test_a_cluster_without_argo_is_named_by_submit_and_left_out_of_lists(
    cluster: Lab, tmp_path: Path
) -> None:
    cluster.server.absent = {"workflows", "cronworkflows"}
    done = submit(tmp_path)
    assert done.code == 1
    assert "the cluster has no Argo Workflows: its API knows no workflows.argoproj.io" in done.err
    assert katibflow("list", *ON).code == 1
    listed = katibflow("list")
    assert listed.code == 0 and "Argo" not in listed.err
    missing = katibflow("show", "sample-abcde")
    # It may be in Kubeflow Pipelines, which this account may not ask: that is the error.
    assert missing.code == 1 and "answers 403" in missing.err and "Argo" not in missing.err


def test_a_missing_right_is_told_in_the_server_s_words(cluster: Lab, tmp_path: Path) -> None:
    cluster.server.rules = []
    done = submit(tmp_path)
    assert done.code == 1
    assert "answers 403: workflows.argoproj.io is forbidden" in done.err
    absent = submit(tmp_path, "--namespace", "absent")
    assert absent.code == 1


def test_a_workflow_that_is_deleted_ends_its_follower(cluster: Lab, tmp_path: Path) -> None:
    def deletes(body: dict[str, Any]) -> None:
        cluster.server.delete("workflows", body["metadata"]["name"])

    cluster.server.argo = deletes
    done = submit(tmp_path)
    assert done.code == 1
    assert f"is not, or no longer, in namespace {NAMESPACE}" in done.err
    assert "the run goes on" not in done.err


def test_an_answer_that_was_lost_creates_no_second_run(cluster: Lab, tmp_path: Path) -> None:
    cluster.server.fail(lambda r: (r.verb, r.resource) == ("create", "workflows"), 0, applied=True)
    done = submit(tmp_path, "--no-wait", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["run"] == body_of(cluster)["metadata"]["uid"]


def test_a_run_of_a_template_has_its_own_parameters(cluster: Lab, tmp_path: Path) -> None:
    file, out = experiment_file(tmp_path), tmp_path / "sweep.yaml"
    Experiment.from_yaml(file).compile(out, target="argo", image="i", service_account="runner")
    spec = yaml.safe_load(out.read_text(encoding="utf-8"))["spec"]
    given = [{"name": "name", "value": "third"}, {"name": "maxTrialCount", "value": "3"}]
    body = {
        "metadata": {"name": "argo-run", "labels": {"katibflow/layout": "rounds"}},
        "spec": {
            "workflowTemplateRef": {"name": "sample"},
            "arguments": {"parameters": given},
            "suspend": True,
        },
        "status": {"phase": "Running", "storedWorkflowTemplateSpec": spec},
    }
    cluster.server.create("workflows", body)
    run = Run.find("argo-run", on="argo")
    assert (run.on, run.name, run.state) == ("argo", "argo-run", "PAUSED")
    listed = katibflow("list", *ON).out.splitlines()
    assert re.match(r"argo-run +uid-\d+ +argo +third +PAUSED +0/3 ", listed[1])


def test_python_submits_schedules_waits_and_stops(
    cluster: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment.from_yaml(experiment_file(tmp_path))
    cluster.server.argo = plays(cluster, "Running", "Succeeded", trials=3)
    run = experiment.submit(to="argo", image="i", parameters={"maxTrialCount": 3})
    result = run.wait(poll=0.05, progress=False)
    assert result.succeeded and len(result.trials) == 3
    monkeypatch.setenv("ARGO_SERVER", "argo:2746")
    assert run.link == f"https://argo:2746/workflows/{NAMESPACE}/{run.name}"
    assert [each.run_id for each in Run.latest(on="argo")] == [run.run_id]
    made = experiment.submit(to="argo", image="i", schedule="0 3 * * *")
    assert made.name == EXPERIMENT
    with pytest.raises(InputError, match="to: found slurm; allowed: kfp, argo"):
        experiment.submit(to="slurm")
    cluster.server.absent = {"workflows"}
    with pytest.raises(RunnerError, match="has no Argo Workflows"):
        experiment.submit(to="argo", image="i")
