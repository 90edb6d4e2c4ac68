"""A study that is too large for one run of the layout rounds goes on in the next run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from katibflow.compiler.layouts import choose_layout
from katibflow.errors import InputError
from katibflow.experiment.types import Experiment
from katibflow.steps.next_run import next_name, next_run
from katibflow.study.history import History
from katibflow.study.resume import run_name
from katibflow.validation.rules import check_document
from tests.doubles.kfp.lab import SCRIPT, experiment_file, katibflow, put_trial
from tests.doubles.kfp.server import KfpServer, Play
from tests.doubles.kubernetes.lab import Lab
from tests.shell_trials import document

CHANGES = {"spec.maxTrialCount": 4, "spec.parallelTrialCount": 1}
ANNOTATION = "katibflow/furtherRuns"


def study(cluster: Lab, run: str, further: int, first: int = 0) -> History:
    """A run's study once its two rounds, of a trial each, are over."""
    of: Experiment = check_document(
        document(SCRIPT, {**CHANGES, "metadata.annotations": {ANNOTATION: str(further)}}), "test"
    )
    trials = [put_trial(cluster.server, run, first + n, 0.5 - (first + n) / 10) for n in (0, 1)]
    return History(of, run_name(run), 1, tuple(trials), rounds=2, most_rounds=2)


@pytest.fixture
def run(
    kfp_server: KfpServer, cluster: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """A run that may be followed by one, and a step of it as this process's environment."""
    file = experiment_file(tmp_path, CHANGES)
    words = ("--layout", "rounds", "--image", "python:x", "--further-runs", "1", "--no-wait")
    done = katibflow("submit", str(file), "--host", kfp_server.url, *words, "--json")
    made: dict[str, Any] = json.loads(done.out)
    labels = {"pipeline/runid": made["run"]}
    cluster.server.create("pods", {"metadata": {"name": "step", "labels": labels}})
    monkeypatch.setenv("KFP_POD_NAME", "step")
    monkeypatch.setenv("KATIBFLOW_RUNNER", "kubernetes")
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", kfp_server.url)
    return made


def test_the_next_run_has_the_study_and_is_followed(
    run: dict[str, Any], kfp_server: KfpServer, cluster: Lab
) -> None:
    first = run["run"]
    of = study(cluster, first, 1)

    def go_on(play: Play) -> None:
        play.state("RUNNING")
        study(cluster, play.run_id, 0, first=2)
        play.state("SUCCEEDED")

    kfp_server.script = go_on
    said = next_run(of)
    second = next(each for each in kfp_server.runs.values() if each["run_id"] != first)
    before = kfp_server.runs[first]
    assert said.startswith(
        f"the study goes on in the run {run['name']}-run2, {second['run_id']}: #/runs/details/"
    )
    for key in ("experiment_id", "pipeline_version_reference"):
        assert second[key] == before[key]
    assert second["runtime_config"]["parameters"] == {
        **before["runtime_config"]["parameters"],
        "resume": run_name(first),
        "furtherRuns": "0",
    }
    assert next_run(of) == said  # a step that runs again finds it
    assert len(kfp_server.runs) == 2

    Play(kfp_server, before).state("SUCCEEDED")
    shown = katibflow("show", first, "--host", kfp_server.url)
    assert f"the study goes on in the run {run['name']}-run2, {second['run_id']}: " in shown.out
    followed = katibflow("show", first, "--host", kfp_server.url, "--follow", "--poll", "0.05")
    assert f"\nrun {run['name']}-run2: {kfp_server.url}/#/runs/details/{second['run_id']}\n" in (
        followed.out
    )
    assert "4 trials ended, maxTrialCount is 4\nbest trial: 3, loss=0.2" in followed.out
    assert followed.code == 0


def test_what_stands_in_the_way_is_told_with_what_to_do(
    run: dict[str, Any], kfp_server: KfpServer, cluster: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = study(cluster, run["run"], 1)
    by_hand = f"katibflow submit FILE --resume {run_name(run['run'])} "
    kfp_server.secret = "Bearer another"
    said = next_run(of)
    assert f"{kfp_server.url} answers 401: " in said and by_hand in said
    kfp_server.secret = ""
    kfp_server.fail(lambda method, path: method == "POST", 504)
    assert "answers 504" in next_run(of)
    made = next_run(of)
    kfp_server.fail(lambda method, path: method == "POST", 504)
    assert next_run(of) == made  # it is there, whatever was answered
    assert len(kfp_server.runs) == 2

    kfp_server.runs.popitem()
    spec = next(iter(kfp_server.versions.values()))["pipeline_spec"]["pipeline_spec"]
    spec["root"].pop("inputDefinitions")
    said = next_run(of)
    assert "is a part of the pipeline of " in said and by_hand in said
    monkeypatch.delenv("KFP_POD_NAME")
    assert "this step is none of Kubeflow Pipelines" in next_run(of)
    assert "--further-runs N" in next_run(study(cluster, run["run"], 0))
    assert len(kfp_server.runs) == 1


def test_a_name_counts_its_runs() -> None:
    assert next_name("mnist-20260131-093000") == "mnist-20260131-093000-run2"
    assert next_name("mnist-run2") == "mnist-run3"


def test_a_sweep_that_one_run_cannot_hold_is_offered_others() -> None:
    def chosen(**annotations: str) -> str:
        changes = {
            "spec.maxTrialCount": 400,
            "spec.parallelTrialCount": 50,
            "metadata.annotations": annotations,
        }
        of = check_document(document(SCRIPT, changes), "test")
        return choose_layout(of, "rounds", library=0, is_part=False).layout

    with pytest.raises(InputError, match=r"--further-runs 1, or the annotation katibflow/further"):
        chosen()
    assert chosen(**{ANNOTATION: "1"}) == "rounds"
    with pytest.raises(InputError, match=r"furtherRuns.*found \"x\"; allowed: a number of runs"):
        chosen(**{ANNOTATION: "x"})
