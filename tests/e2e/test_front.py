"""Compiled files with several objectives, a constraint and a conditional parameter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from katibflow import steps
from katibflow.compiler.emit import compile_experiment
from katibflow.report.data import best_data
from katibflow.steps.files import read_study
from katibflow.study.history import History, TrialState
from katibflow.validation.rules import check_document
from tests.e2e.kfp_local import run_pipeline
from tests.samples import changed
from tests.shell_trials import ROOM, document, outputs, reported

SCRIPT = 'echo "loss=$X"; echo "size=$((10 - X))"; echo "y=$Y"; test "$X" = 3 && echo "loss=nan"'


def tried() -> dict[str, Any]:
    made = document(
        f"{SCRIPT}; true",
        {
            "metadata.name": "front",
            "spec.objective": {
                "type": "minimize",
                "objectiveMetricName": "loss",
                "additionalMetricNames": ["size", "y"],
                "metricStrategies": [{"name": "loss", "value": "latest"}],
                "goals": [{"name": "size", "type": "minimize"}],
                "constraints": [{"name": "y", "max": 8}],
            },
            "spec.algorithm": {"algorithmName": "grid"},
            "spec.parameters": [
                {"name": "x", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "3"}},
                {
                    "name": "y",
                    "parameterType": "discrete",
                    "feasibleSpace": {"list": ["8", "9"]},
                    "when": {"x": 2},
                },
            ],
            "spec.trialTemplate.trialParameters": [
                {"name": "x", "reference": "x"},
                {"name": "y", "reference": "y", "default": "0"},
            ],
            "spec.parallelTrialCount": 4,
        },
    )
    env = "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.env.1"
    return changed({env: {"name": "Y", "value": "${trialParameters.y}"}}, made)


@pytest.mark.long
def test_compiled_rounds_end_with_the_front(tmp_path: Path) -> None:
    experiment = check_document(tried(), "front")
    run = run_pipeline(tmp_path, compile_experiment(experiment, layout="rounds").text)
    assert run.code == 0, run.log
    outputs = run.outputs("report")
    assert json.loads(outputs["best_parameters"]) == {}
    metrics = run.metrics("report")
    del metrics["display_name"]
    page, text = (
        (run.root / "report" / name).read_text(encoding="utf-8") for name in ("page", "text")
    )
    _ends_with_the_front(run.study, json.loads(outputs["result"]), metrics, page, text)


def test_the_controller_ends_with_the_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KATIBFLOW_RUNNER", "local")
    monkeypatch.setenv("KATIBFLOW_RUNS", str(tmp_path / "runs"))
    study, after, logs = outputs(tmp_path, "study", "after", "logs")
    steps.start(json.dumps(tried()), {}, "controller", "some-run", "", ROOM, study)
    steps.controller(study.path, after, logs)
    told = reported(after.path, tmp_path)
    assert told.best == {}
    assert told.metrics.metadata.pop("display_name") == "report"
    _ends_with_the_front(
        read_study(after.path), told.result, told.metrics.metadata, told.page.text, told.text.text
    )


def _ends_with_the_front(
    study: History, result: dict[str, Any], metrics: dict[str, float], page: str, text: str
) -> None:
    trials = study.trials
    assert sorted((*trial.assignments.values(),) for trial in trials) == [
        ("1",),
        ("2", "8"),
        ("2", "9"),
        ("3",),
    ]
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    reasons = {(*trial.assignments.values(),): trial.reason for trial in trials}
    assert reasons == {
        ("1",): "TrialSucceeded",
        ("2", "8"): "TrialSucceeded",
        ("2", "9"): "ConstraintBroken",
        ("3",): "ObjectiveNotFinite",
    }
    front = result["front"]
    assert front == best_data(study)["front"]
    assert [(each["objectives"], each["assignments"]) for each in front] == [
        ({"loss": 1.0, "size": 9.0}, {"x": "1"}),
        ({"loss": 2.0, "size": 8.0}, {"x": "2", "y": "8"}),
    ]
    assert metrics == {
        "trials": 4,
        "failed trials": 0,
        "trials on the Pareto front": 2,
        "best loss": 1,
        "best size": 8,
    }
    assert "Pareto front: 2 trials" in page
    assert text.count("On the Pareto front: trial") == 2
    assert "ExperimentSuggestionEndReached" in text.replace("\\", "")
