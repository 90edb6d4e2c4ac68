"""``katibflow list | show | best | logs | stop`` against API servers over HTTP."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.runners.kubernetes.job_object import record_patch
from katibflow.study.history import TrialState
from katibflow.study.resume import run_name
from tests.behaviour.cli.test_verbs import put_run
from tests.doubles.kfp.lab import Done, experiment_file, katibflow, put_pod, put_trial
from tests.doubles.kfp.server import KfpServer, Play
from tests.doubles.kubernetes.lab import Lab

Submit = Callable[..., dict[str, Any]]


@pytest.fixture
def submitted(kfp_server: KfpServer, tmp_path: Path) -> Submit:
    """Starts a run; the server's own object of it."""

    def make(*words: str, state: str = "RUNNING") -> dict[str, Any]:
        file = experiment_file(tmp_path)
        fixed = ("--host", kfp_server.url, "--image", "python:x", "--no-wait", "--json")
        done = katibflow("submit", str(file), *fixed, *words)
        assert done.code == 0, done.err
        run = kfp_server.runs[json.loads(done.out)["run"]]
        Play(kfp_server, run).state(state)
        return run

    return make


@pytest.fixture
def ask(kfp_server: KfpServer) -> Callable[..., Done]:
    return lambda command, *words: katibflow(command, *words, "--host", kfp_server.url)


Ask = Callable[..., Done]


def test_runs_are_listed_with_their_trials(
    kfp_server: KfpServer, cluster: Lab, submitted: Submit, ask: Ask
) -> None:
    first = submitted("--name", "first", state="SUCCEEDED")
    put_trial(cluster.server, first["run_id"], 0, 0.5, name="first")
    put_trial(cluster.server, first["run_id"], 1, 0.25, name="first")
    second = submitted("--max-trials", "none")
    put_trial(cluster.server, second["run_id"], 0)
    first["created_at"] = "2020-01-01T00:00:00Z"
    done = ask("list")
    assert done.code == 0, done.err
    head, *rows = [line.split() for line in done.out.splitlines()]
    assert head == ["NAME", "RUN", "ON", "EXPERIMENT", "STATE", "TRIALS", "BEST", "AGE"]
    assert [row[:-1] for row in rows] == [
        [second["display_name"], second["run_id"][:8], "kfp", "sample", "RUNNING", "0", "-"],
        [
            first["display_name"],
            first["run_id"][:8],
            "kfp",
            "first",
            "SUCCEEDED",
            "2/6",
            "loss=0.25",
        ],
    ]
    assert rows[1][-1].endswith("d")
    data = json.loads(ask("list", "--json").out)["runs"]
    assert [each["experiment"] for each in data] == ["sample", "first"]
    assert data[1]["best"] == {"trial": 1, "objective": 0.25, "assignments": {"x": "2"}}
    assert len(json.loads(ask("list", "--json", "--limit", "1").out)["runs"]) == 1


def test_runs_whose_jobs_are_gone_are_listed_with_one_line_in_all(
    cluster: Lab, submitted: Submit, ask: Ask
) -> None:
    for _ in range(3):
        submitted(state="SUCCEEDED")
    done = ask("list")
    assert [row.split()[4:6] for row in done.out.splitlines()[1:]] == [["SUCCEEDED", "-"]] * 3
    (line,) = done.err.splitlines()
    assert line.startswith("runs that succeeded and have no jobs in this cluster: 3; ")


def test_a_run_that_was_stopped_is_said_to_be_so_in_our_words(
    kfp_server: KfpServer, cluster: Lab, submitted: Submit, ask: Ask
) -> None:
    run = submitted()
    ask("stop", run["run_id"])
    play = Play(kfp_server, run)
    play.step("controller", "FAILED")
    play.step("finish", "SUCCEEDED")
    play.state("FAILED")
    ended = "the run was stopped, and Kubeflow Pipelines shows it as FAILED"
    assert f"PipelineRunStopped: {ended}\n" in ask("show", run["run_id"]).out
    play.step("finish", "FAILED")
    failed = f"{ended}; its step finish failed"
    assert f"PipelineRunStopped: {failed}\n" in ask("show", run["run_id"]).out
    play.step("finish", "SKIPPED")
    play.step("finish-driver", "FAILED")  # its pod began after the run's deadline
    assert f"PipelineRunStopped: {failed}\n" in ask("show", run["run_id"]).out
    play.state("RUNNING")  # somebody retries it
    play.state("FAILED")
    assert "PipelineRunEnded: the run is FAILED; failed steps" in ask("show", run["run_id"]).out


def test_runs_of_other_pipelines_are_left_out(
    kfp_server: KfpServer, submitted: Submit, ask: Ask
) -> None:
    pipelines = connect(Access(kfp_server.url))
    own = "pipelineInfo: {name: own}\nroot: {inputDefinitions: {parameters: {}}}\ncomponents: {}"
    version, _ = pipelines.upload("own", "own-1", own, "")
    foreign = pipelines.start("sample", "foreign", version, {})
    run = submitted()
    gone = submitted("--name", "gone")
    gone["pipeline_version_reference"] = {"pipeline_id": "x", "pipeline_version_id": "x"}
    rows = ask("list").out.splitlines()[1:]
    assert [row.split()[1] for row in rows] == [run["run_id"][:8]]
    for name in ("foreign", foreign.run_id):
        done = ask("show", name)
        assert done.code == 2
        assert "is no run of a pipeline of katibflow's" in done.err


def test_a_run_started_from_a_file_that_was_not_uploaded_is_known_too(
    kfp_server: KfpServer, submitted: Submit, ask: Ask
) -> None:
    run = submitted()
    reference = run.pop("pipeline_version_reference")
    run["pipeline_spec"] = kfp_server.versions[reference["pipeline_version_id"]]["pipeline_spec"]
    assert run["run_id"][:8] in ask("list").out


def test_every_page_of_a_long_list_is_read(
    kfp_server: KfpServer, submitted: Submit, ask: Ask
) -> None:
    runs = [submitted("--name", f"r{number}") for number in range(3)]
    kfp_server.page_size = 2
    rows = ask("list").out.splitlines()[1:]
    assert [row.split()[1] for row in rows] == [run["run_id"][:8] for run in runs[::-1]]
    versions = {r.path for r in kfp_server.requests if "/versions/" in r.path}
    assert len([r for r in kfp_server.requests if r.path in versions]) == 1


def test_a_run_is_shown_with_its_trials_and_its_end(
    cluster: Lab, submitted: Submit, ask: Ask
) -> None:
    run = submitted("--max-trials", "2", "--parallel", "1", state="SUCCEEDED")
    put_trial(cluster.server, run["run_id"], 0, 0.5)
    put_trial(cluster.server, run["run_id"], 1, 0.25, state=TrialState.FAIL)
    done = ask("show", run["display_name"])
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [re.split(r"  +", line)[:5] for line in lines[:3]] == [
        ["TRIAL", "STATE", "loss (min)", "x", "TIME"],
        ["0", "COMPLETE", "0.5", "1", "10s"],
        ["1", "FAIL", "-", "2", "10s"],
    ]
    assert lines[3:6] == [
        "ExperimentMaxTrialsReached: 2 trials ended, maxTrialCount is 2",
        "best trial: 0, loss=0.5",
        "  x=1",
    ]
    data = json.loads(ask("show", run["run_id"][:8], "--json").out)
    assert (data["run"], data["trials"]) == (run["run_id"], {"COMPLETE": 1, "FAIL": 1})
    assert [trial["state"] for trial in data["history"]] == ["COMPLETE", "FAIL"]


def test_a_trial_lasts_from_its_job_s_creation_and_tells_of_a_long_wait(
    cluster: Lab, submitted: Submit, ask: Ask
) -> None:
    run = submitted("--max-trials", "2", "--parallel", "1", state="SUCCEEDED")
    ended = put_trial(cluster.server, run["run_id"], 0, 0.5)
    times = ("2026-01-01T00:00:00.000+00:00", "2026-01-01T00:00:45.000+00:00")
    waited = replace(ended, queued=times[0], start=times[1], end="2026-01-01T00:00:51.000+00:00")
    cluster.server.patch("jobs", ended.job or "", record_patch(waited))
    put_trial(cluster.server, run["run_id"], 1, None)
    cluster.server.patch(
        "jobs",
        (ended.job or "")[:-1] + "1",
        {"metadata": {"annotations": {"katibflow/stopped": "to begin anew"}}},
    )
    lines = ask("show", run["display_name"]).out.splitlines()
    assert " 6s, after 45s in the queue " in lines[1]
    assert " queued " in lines[2]
    history = json.loads(ask("show", run["run_id"], "--json").out)["history"]
    assert (history[0]["queued"], history[0]["start"]) == times
    assert "start" not in history[1]


def test_a_failed_run_is_shown_with_the_last_lines_of_its_failed_steps(
    kfp_server: KfpServer, cluster: Lab, submitted: Submit, ask: Ask
) -> None:
    run = submitted()
    Play(kfp_server, run).step("start", "FAILED")
    Play(kfp_server, run).state("FAILED")
    node = {"workflows.argoproj.io/node-name": "wf.root.start.executor"}
    lines = [f"line {number}" for number in range(12)]
    put_pod(cluster, "wf-start", {"pipeline/runid": run["run_id"]}, ["main"], node, main=lines)
    done = ask("show", run["run_id"])
    assert "the run is FAILED; failed steps: start" in done.out
    assert done.err.splitlines() == ["==> start <==", *lines[2:]]


def test_show_can_follow_a_run(
    kfp_server: KfpServer, cluster: Lab, submitted: Submit, ask: Ask
) -> None:
    run = submitted("--max-trials", "1", "--parallel", "1")
    put_trial(cluster.server, run["run_id"], 0, 0.5)
    waiting = ask("show", run["run_id"])
    assert "NotFinished: the run is RUNNING" in waiting.out
    Play(kfp_server, run).state("SUCCEEDED")
    done = ask("show", run["run_id"], "--follow")
    assert done.code == 0, done.err
    assert "trial 0 complete" in done.out
    assert "1 trial ended, maxTrialCount is 1" in done.out


def test_the_best_parameters_are_for_scripts(cluster: Lab, submitted: Submit, ask: Ask) -> None:
    run = submitted()
    none = ask("best", run["run_id"])
    assert (none.code, none.out) == (1, "")
    assert none.err == "no trial has a finite objective value\n"
    put_trial(cluster.server, run["run_id"], 0, 0.5)
    put_trial(cluster.server, run["run_id"], 4, 0.25)
    assert ask("best", run["run_id"]).out == "x=5\n"
    assert json.loads(ask("best", run["run_id"], "--json").out) == {
        "trial": 4,
        "objective": 0.25,
        "assignments": {"x": "5"},
    }


def test_trials_that_cannot_be_seen_are_said_to_be_so(submitted: Submit, ask: Ask) -> None:
    run = submitted()
    submitted("--name", "other")
    done = ask("list")
    assert done.code == 0
    assert done.err.count("the trials' jobs cannot be seen from here: no cluster") == 1
    best = ask("best", run["run_id"])
    assert best.code == 1
    assert "no trials can be read: their jobs are read by a kubeconfig, and" in best.err
    assert json.loads(ask("show", run["run_id"], "--json").out)["history"] is None
    logs = ask("logs", run["run_id"], "0")
    assert (logs.code, logs.out) == (2, "")


def test_a_run_may_be_meant_in_several_ways(
    kfp_server: KfpServer, submitted: Submit, ask: Ask
) -> None:
    run = submitted()
    for wanted in (run["run_id"], run["run_id"][:6].upper(), run["display_name"], "sample"):
        assert run["run_id"] in ask("show", wanted).out
    other = submitted("--max-trials", "4")
    other["display_name"] = "of-the-same-second"
    both = ask("show", "sample")
    assert both.code == 2
    assert 'RUN: found "sample", which are 2 runs' in both.err
    assert run["run_id"] in both.err and other["run_id"] in both.err
    twin = submitted("--name", "twin")
    twin["display_name"] = run["display_name"]
    several = ask("show", run["display_name"])
    assert several.code == 2
    assert "which are 2 runs" in several.err
    assert run["run_id"] in several.err and twin["run_id"] in several.err
    absent = ask("stop", "absent")
    assert absent.code == 2
    assert absent.err.startswith('RUN: found "absent"; allowed: a run\'s folder')
    assert "; or a run's id, its first letters or its name" in absent.err
    assert kfp_server.asked("POST", ":terminate") == []


def test_jobs_that_a_run_that_is_over_has_left_are_named_and_stopped(
    kfp_server: KfpServer, cluster: Lab, submitted: Submit, ask: Ask
) -> None:
    run = submitted()
    put_trial(cluster.server, run["run_id"], 0, 0.5)
    put_trial(cluster.server, run["run_id"], 1, None)
    ask("stop", run["run_id"])
    play = Play(kfp_server, run)
    play.step("finish-driver", "FAILED")  # its pod was not there in 10 s
    play.state("FAILED")
    shown = ask("show", run["run_id"]).out
    assert f"`katibflow stop {run['run_id']}` ends them\n" in shown
    again = ask("stop", run["run_id"])
    over = f"{run['display_name']} is over already: FAILED"
    assert (again.code, again.out.splitlines()[0]) == (0, over)
    assert again.out.splitlines()[1].startswith("1 job was stopped: ")
    rows = ask("show", run["run_id"]).out.splitlines()
    assert [row.split()[:2] for row in rows[1:3]] == [["0", "COMPLETE"], ["1", "KILLED"]]
    assert "ends them" not in "".join(rows)
    assert ask("stop", run["run_id"]).out == f"{over}\n"


def test_a_run_is_stopped_once(kfp_server: KfpServer, submitted: Submit, ask: Ask) -> None:
    run = submitted()
    done = ask("stop", run["display_name"])
    assert done.code == 0
    assert run["state"] == "CANCELING"
    Play(kfp_server, run).state("CANCELED")
    again = ask("stop", run["display_name"])
    assert (again.code, again.out) == (0, f"{run['display_name']} is over already: CANCELED\n")
    assert len(kfp_server.asked("POST", ":terminate")) == 1
    followed = ask("show", run["run_id"], "--follow")
    assert followed.code == 1
    assert "the run was stopped, and Kubeflow Pipelines shows it as CANCELED" in followed.out


def test_logs_are_those_of_a_trial_s_primary_container(
    cluster: Lab, submitted: Submit, ask: Ask
) -> None:
    run = submitted()
    put_trial(cluster.server, run["run_id"], 0, 0.5)
    labels = {"katibflow/run": run_name(run["run_id"]), "katibflow/trial": "0"}
    put_pod(cluster, "trial-pod", labels, ["side", "main"], main=["epoch 1", "loss=0.5"])
    put_pod(cluster, "other-pod", labels | {"katibflow/trial": "1"}, ["main"], main=["no"])
    done = ask("logs", run["run_id"], "0")
    assert (done.code, done.out) == (0, "==> trial-pod <==\nepoch 1\nloss=0.5\n")
    missing = ask("logs", run["run_id"], "1")
    assert missing.code == 2
    assert "TRIAL: found 1; allowed: 0 to 0" in missing.err
    cluster.server.delete("pods", "trial-pod")
    gone = ask("logs", run["run_id"], "0")
    assert gone.code == 1
    assert "no pod of trial 0 is left, or has begun; on record it is COMPLETE" in gone.err


def test_logs_without_a_trial_are_the_steps(cluster: Lab, submitted: Submit, ask: Ask) -> None:
    run = submitted()
    empty = ask("logs", run["run_id"])
    assert empty.code == 1
    assert "no pod of a step" in empty.err
    labels = {"pipeline/runid": run["run_id"]}
    for node, line in (
        ("wf.root.exit-handler-1.start-driver", "driver"),
        ("wf.root.exit-handler-1.start.executor", "sample: random"),
        ("wf.root.exit-handler-1.controller.executor(1)", "trial 0 started"),
    ):
        annotations = {"workflows.argoproj.io/node-name": node}
        put_pod(cluster, node.replace(".", "-"), labels, ["main"], annotations, main=[line])
    done = ask("logs", run["run_id"])
    assert done.code == 0, done.err
    assert done.out == "==> start <==\nsample: random\n==> controller <==\ntrial 0 started\n"


def test_a_kubeconfig_without_rights_is_said_and_a_context_s_is_an_error(
    cluster: Lab, submitted: Submit, ask: Ask
) -> None:
    run = submitted()
    cluster.server.rules = []
    done = ask("show", run["run_id"])
    assert done.code == 0
    assert "the trials' jobs cannot be seen from here: the API server answers 403" in done.err
    done = ask("show", run["run_id"], "--context", "test")
    assert done.code == 1
    assert "answers 403" in done.err


def test_a_name_of_a_run_here_and_of_one_there_is_said_with_the_ways_to_mean_one(
    submitted: Submit, ask: Ask
) -> None:
    run = submitted()
    run["display_name"] = "both"
    put_run(Path("runs/both"))
    done = ask("best", "both")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        'RUN: found "both", which are 2 runs: 0a1b2c3d (local: both), '
        f"{run['run_id']} (kfp: both); "
        "allowed: --on local or --on kfp; or the path runs/both\n"
    )
    assert ask("best", "both", "--on", "local").out == ask("best", "runs/both").out == "lr=0.3\n"
    assert run["run_id"] in ask("show", "both", "--on", "kfp").out
    rows = [line.split() for line in ask("list").out.splitlines() if line and "NAME" not in line]
    assert [row[2] for row in rows] == ["local", "kfp"]


def test_runs_here_are_listed_though_nobody_answers_there(tmp_path: Path) -> None:
    put_run(Path("runs/here"))
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(kubeconfig_of(free_address())), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(config))
        found = katibflow("list")
    assert found.code == 0
    assert found.out.splitlines()[1].startswith("here")
    assert found.err.startswith("runs in Kubeflow Pipelines cannot be listed: ")
    given = katibflow("list", "--host", free_address())
    assert given.code == 1  # the user has named it
    assert given.out.splitlines()[1].startswith("here")


def free_address() -> str:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def kubeconfig_of(server: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
