"""Compiled files with several objectives, a constraint and a conditional parameter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from katibflow.compiler.emit import compile_experiment
from katibflow.history import TrialState
from katibflow.result import best_data
from katibflow.validation import check_document
from tests.pipeline.kfp_local import Run, run_pipeline
from tests.samples import changed
from tests.shell_trials import document

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


@pytest.mark.parametrize("layout", ["rounds", "controller"])
def test_a_compiled_file_ends_with_the_front(tmp_path: Path, layout: str) -> None:
    experiment = check_document(tried(), "front")
    run: Run = run_pipeline(tmp_path, compile_experiment(experiment, layout=layout).text)
    assert run.code == 0, run.log
    trials = run.study.trials
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
    outputs = run.outputs("report")
    assert json.loads(outputs["best_parameters"]) == {}
    front = json.loads(outputs["result"])["front"]
    assert front == best_data(run.study)["front"]
    assert [(each["objectives"], each["assignments"]) for each in front] == [
        ({"loss": 1.0, "size": 9.0}, {"x": "1"}),
        ({"loss": 2.0, "size": 8.0}, {"x": "2", "y": "8"}),
    ]
    assert run.metrics("report") == {
        "display_name": "report",
        "trials": 4,
        "failed trials": 0,
        "trials on the Pareto front": 2,
        "best loss": 1,
        "best size": 8,
    }
    page = (run.root / "report" / "page").read_text(encoding="utf-8")
    assert "Pareto front: 2 trials" in page
    text = (run.root / "report" / "text").read_text(encoding="utf-8")
    assert text.count("On the Pareto front: trial") == 2
    assert "ExperimentSuggestionEndReached" in text.replace("\\", "")
