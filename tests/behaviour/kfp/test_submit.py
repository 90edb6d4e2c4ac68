"""``katibflow submit`` against an API server over HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from katibflow.compiler.library import pack_library
from katibflow.study.history import TrialState
from tests.doubles.kfp.lab import EXPERIMENT, experiment_file, katibflow, put_pod, put_trial
from tests.doubles.kfp.server import KfpServer, Play
from tests.doubles.kubernetes.lab import Lab
from tests.paths import ROOT
from tests.warm import client as warm

IMAGE = ("--image", "python:katibflow")  # nothing is packed, which is quicker
FAST = ("--poll", "0.05")
ONE = ("--max-trials", "1", "--parallel", "1")


def submit(server: KfpServer, folder: Path, *words: str, **spec: object) -> tuple[str, ...]:
    changes = {f"spec.{key}": value for key, value in spec.items()}
    file = experiment_file(folder, changes)
    return ("submit", str(file), "--host", server.url, *IMAGE, *FAST, *words)


def succeeds(play: Play) -> None:
    play.state("RUNNING")
    play.state("SUCCEEDED")


def test_the_compiled_file_is_uploaded_and_run(kfp_server: KfpServer, tmp_path: Path) -> None:
    kfp_server.script = succeeds
    done = katibflow(*submit(kfp_server, tmp_path))
    assert done.code == 0, done.err
    (run,) = kfp_server.runs.values()
    assert f"run: {kfp_server.url}/#/runs/details/{run['run_id']}" in done.out
    assert re.fullmatch(rf"{EXPERIMENT}-\d{{8}}-\d{{6}}", run["display_name"])
    assert run["runtime_config"]["parameters"] == {}
    (experiment,) = kfp_server.experiments.values()
    assert experiment["display_name"] == EXPERIMENT
    (text,) = kfp_server.uploads.values()
    out = tmp_path / "compiled.yaml"
    katibflow("compile", str(tmp_path / "experiment.yaml"), "-o", str(out), *IMAGE)
    assert text == out.read_text(encoding="utf-8")


def test_only_new_content_is_uploaded_as_a_new_version(
    kfp_server: KfpServer, tmp_path: Path
) -> None:
    first = katibflow(*submit(kfp_server, tmp_path, "--no-wait"))
    assert ": uploaded\n" in first.out
    again = katibflow(*submit(kfp_server, tmp_path, "--no-wait", "--max-trials", "3"))
    assert ": there already\n" in again.out
    words = ("--name", "another-name", "--max-trials", "12", "--goal", "0.001")
    another = katibflow(*submit(kfp_server, tmp_path, "--no-wait", *words))
    assert ": there already\n" in another.out
    assert len(kfp_server.versions) == 1
    changed = katibflow(*submit(kfp_server, tmp_path, "--no-wait", maxTrialCount=4))
    assert ": uploaded\n" in changed.out
    assert len(kfp_server.pipelines) == 1
    assert len(kfp_server.versions) == 2
    used = [run["pipeline_version_reference"] for run in kfp_server.runs.values()]
    assert used[0] == used[1] == used[2] != used[3]


def test_options_become_the_run_s_parameters(kfp_server: KfpServer, tmp_path: Path) -> None:
    words = "--name other --parallel 2 --max-trials 9 --max-failed-trials none --goal 0.1 "
    words += "--trial-timeout 60 --trial-start-timeout 30 --resume none --kfp-experiment team"
    done = katibflow(*submit(kfp_server, tmp_path, "--no-wait", "--json", *words.split()))
    assert done.code == 0, done.err
    (run,) = kfp_server.runs.values()
    assert run["runtime_config"]["parameters"] == {
        "name": "other",
        "parallelTrialCount": "2",
        "maxTrialCount": "9",
        "maxFailedTrialCount": "none",
        "goal": "0.1",
        "trialTimeout": "60",
        "trialStartTimeout": "30",
        "resume": "none",
    }
    (experiment,) = kfp_server.experiments.values()
    assert experiment["display_name"] == "team"
    assert [each["display_name"] for each in kfp_server.pipelines.values()] == [EXPERIMENT]
    link = f"{kfp_server.url}/#/runs/details/{run['run_id']}"
    assert json.loads(done.out) == {
        "run": run["run_id"],
        "name": run["display_name"],
        "link": link,
    }


@pytest.mark.parametrize(
    ("words", "layout", "warned"),
    [
        ((), "rounds", False),
        (("--max-trials", "none"), "controller", False),
        (("--max-trials", "none", "--layout", "rounds"), "rounds", True),
        (("--layout", "controller"), "controller", False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_the_layout_is_that_of_the_run_that_is_started(
    kfp_server: KfpServer, tmp_path: Path, words: tuple[str, ...], layout: str, warned: bool
) -> None:
    done = katibflow(*submit(kfp_server, tmp_path, "--no-wait", *words))
    assert done.code == 0, done.err
    assert f"layout {layout}: " in done.out
    assert ("maxTrialCount is missing" in done.err) == warned
    (text,) = kfp_server.uploads.values()
    components = next(yaml.safe_load_all(text))["components"]
    assert ("comp-controller" in components) == (layout == "controller")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max-trials", "-1"), "the run's parameters: spec.maxTrialCount: found"),
        (("--goal", "much"), "the run's parameters: spec.objective.goal: found"),
        (("--name", "No Name"), 'the run\'s parameters: metadata.name: found "No Name"'),
        (("--resume", "yes"), 'resume: found "yes"; allowed: none, all'),
        (("--max-trials", "2000", "--layout", "rounds"), "spec.maxTrialCount: found 2000"),
        (("--schedule", "0 3 * *"), "4 fields; allowed: 5"),
        (("--schedule", "@daily", "--every", "1d"), "found both"),
        (("--every", "6"), '--every: found "6"; allowed: a time'),
        (("--package", "katibflow==1"), "--image and --package: found both"),
        (("--namespace", "No Name"), "--namespace: found 'No Name'"),
        (("--ca-file", "absent.pem"), "--ca-file absent.pem: no such file"),
    ],
)
def test_bad_options_start_nothing(
    kfp_server: KfpServer, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = katibflow(*submit(kfp_server, tmp_path, *words))
    assert done.code == 2
    assert said in done.err
    assert kfp_server.requests == []


def test_trials_are_shown_while_they_run_and_the_best_at_the_end(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    def script(play: Play) -> None:
        play.state("RUNNING")
        for number in range(3):
            put_trial(cluster.server, play.run_id, number)
            looked = len(cluster.server.requests)
            cluster.server.wait_for(lambda looked=looked: len(cluster.server.requests) > looked + 1)
            ended = datetime.now(UTC)
            start, end = (ended - timedelta(seconds=60)).isoformat(), ended.isoformat()
            value = 0.5 - number / 10
            put_trial(cluster.server, play.run_id, number, value, start=start, end=end)
        play.state("SUCCEEDED")

    kfp_server.age = 90.0
    kfp_server.script = script
    done = katibflow(*submit(kfp_server, tmp_path, "--max-trials", "3", "--parallel", "1"))
    assert done.code == 0, done.err
    lines = [line.partition(" ")[2] for line in done.out.splitlines()]
    for number, value in enumerate(("0.5", "0.4", "0.3")):
        assert f"trial {number} started: x={number + 1}" in lines
        (ended,) = (line for line in lines if line.startswith(f"trial {number} complete"))
        assert f"loss={value} (best loss={value} in trial {number})" in ended
        assert (" left" in ended) is (number < 2)
    assert done.out.splitlines()[-4:-1] == [
        "ExperimentMaxTrialsReached: 3 trials ended, maxTrialCount is 3",
        "best trial: 2, loss=0.3",
        "  x=3",
    ]


def test_json_is_all_of_the_output(kfp_server: KfpServer, cluster: Lab, tmp_path: Path) -> None:
    def script(play: Play) -> None:
        play.state("RUNNING")
        put_trial(cluster.server, play.run_id, 0, 0.25)
        play.state("SUCCEEDED")

    kfp_server.script = script
    done = katibflow(*submit(kfp_server, tmp_path, *ONE, "--json"))
    assert done.code == 0, done.err
    data = json.loads(done.out)
    assert data["best"] == {"trial": 0, "objective": 0.25, "assignments": {"x": "1"}}
    assert data["trials"] == {"COMPLETE": 1}
    assert (data["state"], data["succeeded"]) == ("SUCCEEDED", True)
    assert "trial 0 complete" in done.err


def test_too_many_failed_trials_are_exit_status_1(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    def script(play: Play) -> None:
        put_trial(cluster.server, play.run_id, 0, 1.0, state=TrialState.FAIL)
        play.state("SUCCEEDED")

    kfp_server.script = script
    done = katibflow(*submit(kfp_server, tmp_path, "--max-failed-trials", "1"))
    assert done.code == 1
    assert "ExperimentFailed: 1 trial failed, maxFailedTrialCount is 1" in done.out


def test_a_run_that_fails_names_the_step(kfp_server: KfpServer, tmp_path: Path) -> None:
    def script(play: Play) -> None:
        play.state("RUNNING")
        play.step("start", "FAILED")
        play.step("executor", "FAILED")
        play.state("FAILED", "child 'start' failed")

    kfp_server.script = script
    done = katibflow(*submit(kfp_server, tmp_path))
    assert done.code == 1
    assert "the run is FAILED; failed steps: start; child 'start' failed" in done.out


def test_trials_of_earlier_runs_that_count_are_part_of_the_result(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    earlier = "11111111-2222-3333-4444-555555555555"
    for number, end in enumerate(("2020-01-01T00:00:00+00:00", "2020-01-02T00:00:00+00:00")):
        put_trial(cluster.server, earlier, number, 0.1 + number, end=end)
    later = "99999999-2222-3333-4444-555555555555"

    def script(play: Play) -> None:
        play.state("RUNNING")
        put_trial(cluster.server, later, 0, 0.01, end="2101-01-01T00:00:00+00:00")
        put_trial(cluster.server, play.run_id, 2, 0.5)
        play.state("SUCCEEDED")

    kfp_server.script = script
    done = katibflow(*submit(kfp_server, tmp_path, "--resume", "all", "--max-trials", "3"))
    assert done.code == 0, done.err
    assert "3 trials ended, maxTrialCount is 3" in done.out
    assert "best trial: 0, loss=0.1\n" in done.out


def test_without_a_kubeconfig_the_steps_are_shown(kfp_server: KfpServer, tmp_path: Path) -> None:
    def script(play: Play) -> None:
        play.state("RUNNING")
        for state in ("RUNNING", "SUCCEEDED"):
            for number in range(2):
                play.step("launcher", state, f"launcher-{number}")
            play.looked_at()
        play.state("SUCCEEDED")

    kfp_server.script = script
    done = katibflow(*submit(kfp_server, tmp_path))
    assert done.code == 0, done.err
    assert "running: 0 trials ended, 2 running\n" in done.out
    assert "running: 2 trials ended, 0 running\n" in done.out
    assert "the run is SUCCEEDED; its report tells the rest" in done.out
    assert done.err.startswith("the trials' jobs cannot be seen from here: no cluster")


def test_a_kubeconfig_of_another_cluster_is_said_and_not_believed(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    kfp_server.script = succeeds
    done = katibflow(*submit(kfp_server, tmp_path))
    assert done.code == 0
    assert "the run is SUCCEEDED; its report tells the rest" in done.out
    assert (
        "is in namespace kubeflow of the kubeconfig's cluster; "
        "--context and --namespace say where they are" in done.err
    )
    done = katibflow(*submit(kfp_server, tmp_path, "--context", "test"))
    assert done.code == 1
    assert "no job of sample-" in done.err


def test_the_context_that_is_asked_for_must_be_there(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    done = katibflow(*submit(kfp_server, tmp_path, "--context", "nope"))
    assert done.code == 2
    assert "nope" in done.err


@pytest.mark.parametrize(
    ("words", "trigger"),
    [
        (("--schedule", "0 3 * * *"), {"cron_schedule": {"cron": "0 0 3 * * *"}}),
        (("--every", "6h"), {"periodic_schedule": {"interval_second": 21600}}),
    ],
)
def test_a_schedule_makes_a_recurring_run_of_studies_of_their_own(
    kfp_server: KfpServer, tmp_path: Path, words: tuple[str, ...], trigger: dict[str, object]
) -> None:
    done = katibflow(*submit(kfp_server, tmp_path, "--name", "nightly", *words))
    assert done.code == 0, done.err
    (made,) = kfp_server.recurring.values()
    assert made["trigger"] == trigger
    assert made["display_name"] == "nightly"
    assert (made["mode"], made["no_catchup"], made["max_concurrency"]) == ("ENABLE", True, 1)
    assert made["runtime_config"]["parameters"] == {"name": "nightly", "resume": "none"}
    assert f"/#/recurringrun/details/{made['recurring_run_id']}" in done.out
    assert kfp_server.runs == {}
    again = katibflow(*submit(kfp_server, tmp_path, "--name", "nightly", *words))
    assert again.code == 2
    assert 'found "nightly", which recurs already' in again.err
    assert len(kfp_server.recurring) == 1
    other = katibflow(
        *submit(kfp_server, tmp_path, "--name", "one-study", "--resume", "all", *words)
    )
    assert other.code == 0, other.err
    parameters = [each["runtime_config"]["parameters"] for each in kfp_server.recurring.values()]
    assert parameters[1] == {"name": "one-study", "resume": "all"}


def test_the_example_of_a_recurring_sweep_adds_to_one_study(kfp_server: KfpServer) -> None:
    example = ROOT / "examples" / "nightly.sh"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "KF_PIPELINES_ENDPOINT": kfp_server.url, "PATH": path}
    done = subprocess.run(["sh", example], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (made,) = kfp_server.recurring.values()
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert made["runtime_config"]["parameters"] == {
        "name": "nightly",
        "maxTrialCount": "+10",
        "resume": "all",
    }


def test_ctrl_c_leaves_the_run_and_says_how_to_go_on(kfp_server: KfpServer, tmp_path: Path) -> None:
    process = warm.popen(
        *submit(kfp_server, tmp_path),
        env={**os.environ, "KUBECONFIG": str(tmp_path / "absent")},
    )
    kfp_server.wait_for(lambda: len(kfp_server.runs) == 1, 60)
    (run,) = kfp_server.runs
    kfp_server.wait_for(lambda: len(kfp_server.asked("GET", f"/runs/{run}")) > 1, 60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert f"  katibflow show {run} --follow\n  katibflow stop {run}\n" in err
    assert "Traceback" not in err
    assert kfp_server.runs[run]["state"] == "PENDING"


def test_the_library_is_in_what_is_uploaded_by_default(
    kfp_server: KfpServer, tmp_path: Path
) -> None:
    file = experiment_file(tmp_path)
    words = ("--layout", "controller", "--no-wait")
    done = katibflow("submit", str(file), "--host", kfp_server.url, *words)
    assert done.code == 0, done.err
    (text,) = kfp_server.uploads.values()
    spec = next(yaml.safe_load_all(text))
    assert "comp-controller" in spec["components"]
    executors = spec["deploymentSpec"]["executors"]
    assert executors["exec-controller"]["container"]["image"] == "python:3.11-slim"
    (holding,) = executors["exec-library"]["container"]["command"]
    assert pack_library().text in holding


def test_a_file_whose_trials_are_used_up_is_refused_before_anything_is_uploaded(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    earlier = "11111111-2222-3333-4444-555555555555"
    for number in range(6):
        put_trial(cluster.server, earlier, number, 0.5)
    goes_on = {"resumePolicy": "LongRunning"}
    done = katibflow(*submit(kfp_server, tmp_path, "--no-wait", **goes_on))
    assert done.code == 2
    assert "resume: found 6 trials of earlier runs, with which the experiment is over" in done.err
    assert kfp_server.pipelines == {}
    for words in (("--resume", "none"), ("--max-trials", "9"), ("--every", "1d")):
        again = katibflow(*submit(kfp_server, tmp_path, "--no-wait", *words, **goes_on))
        assert again.code == 0, again.err


def test_a_run_adds_trials_to_those_that_it_takes_over(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    earlier = "11111111-2222-3333-4444-555555555555"
    for number in range(6):
        put_trial(cluster.server, earlier, number, 0.5, end="2000-01-01T00:00:00+00:00")
    words = ("--no-wait", "--json", "--resume", "all", "--max-trials", "+3")
    done = katibflow(*submit(kfp_server, tmp_path, *words))
    assert done.code == 0, done.err
    run = json.loads(done.out)["run"]
    given = kfp_server.runs[run]["runtime_config"]["parameters"]
    assert given == {"maxTrialCount": "+3", "resume": "all"}
    for number in (6, 7):
        put_trial(cluster.server, run, number, 0.25)
    listed = katibflow("list", "--host", kfp_server.url)
    assert " 8/9 " in listed.out, listed.err


def test_the_last_lines_of_a_failed_step_are_shown(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    def script(play: Play) -> None:
        for step, lines in (("start", ["1", "katibflow: resume: found"]), ("other", ["no"])):
            annotations = {"workflows.argoproj.io/node-name": f"wf.root.{step}.executor"}
            labels = {"pipeline/runid": play.run_id}
            put_pod(cluster, f"wf-{step}", labels, ["main"], annotations, main=lines)
        play.step("start", "FAILED")
        play.state("FAILED")

    kfp_server.script = script
    done = katibflow(*submit(kfp_server, tmp_path))
    assert done.code == 1
    assert done.err == "==> start <==\n1\nkatibflow: resume: found\n"


def test_a_run_is_resumed_by_the_letters_that_list_shows_of_its_id(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path
) -> None:
    first = katibflow(*submit(kfp_server, tmp_path, "--no-wait"))
    assert first.code == 0, first.err
    (run,) = kfp_server.runs.values()
    put_trial(cluster.server, run["run_id"], 0, 0.5)
    short = run["run_id"][:8]
    again = katibflow(*submit(kfp_server, tmp_path, "--no-wait", "--resume", short))
    assert again.code == 0, again.err
    (_, second) = kfp_server.runs.values()
    assert second["runtime_config"]["parameters"]["resume"] == run["run_id"]
