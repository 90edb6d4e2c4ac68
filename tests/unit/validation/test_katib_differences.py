"""What `validate` notes of a right file: where it means something else than in Katib."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from katibflow.cli import app
from katibflow.validation.katib_differences import katib_differences_of
from katibflow.validation.rules import check_document
from tests.samples import ABSENT, DOCUMENT, changed

ARGS = "spec.trialTemplate.trialSpec.spec.template.spec.containers.0.args"
PBT = [
    {"name": "suggestion_trial_dir", "value": "/ckpt"},
    {"name": "n_population", "value": "5"},
    {"name": "truncation_threshold", "value": "0.2"},
]


def notes(changes: Mapping[str, Any]) -> tuple[str, ...]:
    return katib_differences_of(check_document(changed(changes), "f.yaml", needs_template=False))


def test_a_file_that_means_the_same_has_no_notes() -> None:
    assert notes({}) == ()


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"spec.algorithm.algorithmName": "tpe"}, "tpe is Optuna's TPESampler"),
        (
            {"spec.algorithm.algorithmName": "optuna:RandomSampler"},
            "algorithm optuna:RandomSampler: an extension, Katib refuses it",
        ),
        (
            {
                "spec.objective.additionalMetricNames": ["size"],
                "spec.objective.goals": [{"name": "size", "type": "minimize"}],
            },
            "objective.goals (size): an extension, Katib ignores it and has one objective",
        ),
        (
            {"spec.objective.constraints": [{"name": "loss", "max": 1}]},
            "objective.constraints: an extension, Katib ignores it",
        ),
        (
            {
                "spec.parameters.1": {
                    "name": "seed",
                    "parameterType": "int",
                    "feasibleSpace": {"min": "1", "max": "2"},
                },
                "spec.parameters.0.when": {"seed": 1},
                "spec.trialTemplate.trialParameters.0.default": "0",
                "spec.trialTemplate.trialParameters.1": {"name": "seed", "reference": "seed"},
                ARGS: ["${trialParameters.lr} ${trialParameters.seed}"],
            },
            "when of lr: an extension, Katib ignores it and gives every trial every parameter",
        ),
        (
            {"spec.earlyStopping": {"algorithmName": "optuna:MedianPruner"}},
            "earlyStopping optuna:MedianPruner: an extension, Katib refuses it",
        ),
        (
            {"spec.parameters.0": {"name": "lr", "feasibleSpace": {"list": ["a"]}}},
            "a parameter without parameterType: its list tells the type; Katib refuses it",
        ),
        (
            {"spec.maxTrialCount": 2},
            "parallelTrialCount is left out: 2, as maxTrialCount; Katib takes 3 and refuses it",
        ),
        ({"spec.earlyStopping": {"algorithmName": "medianstop"}}, "earlyStopping medianstop: comp"),
        ({"spec.objective.goal": 0.1}, "objective.goal: running trials are stopped when it is"),
        ({"spec.resumePolicy": "FromVolume"}, "resumePolicy FromVolume: a compiled pipeline takes"),
        (
            {
                "spec.trialTemplate.trialSpec": ABSENT,
                "spec.trialTemplate.configMap": {
                    "configMapName": "a",
                    "configMapNamespace": "b",
                    "templatePath": "c",
                },
            },
            "trialTemplate.configMap: the template itself is not checked without --config-map",
        ),
        (
            {ARGS: ["${trialParameters.lr}", "${trialSpec.Name}"]},
            "trialTemplate.trialSpec: a ${trialSpec...} in it is replaced; Katib replaces it only",
        ),
        (
            {"spec.algorithm": {"algorithmName": "pbt", "algorithmSettings": PBT}},
            "algorithm pbt: on Kubernetes each pod needs a persistent volume mounted at",
        ),
    ],
)
def test_each_difference_has_one_note(changes: Mapping[str, Any], start: str) -> None:
    said = notes(changes)
    assert len([note for note in said if note.startswith(start)]) == 1
    assert len(said) == len({*said})


def test_validate_prints_notes_beside_its_verdict(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(yaml.safe_dump(changed({"spec.objective.goal": 0.1})))
    done = CliRunner().invoke(app, ["validate", str(path)])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{path}: valid: sample")
    assert done.stderr.startswith(f"{path}: note: objective.goal: ")
    done = CliRunner().invoke(app, ["validate", "--json", str(path)])
    (report,) = json.loads(done.stdout)["files"]
    assert report["valid"] and [note[:14] for note in report["notes"]] == ["objective.goal"]


def test_a_wrong_file_has_faults_and_no_notes(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(yaml.safe_dump({**DOCUMENT, "kind": "X"}))
    done = CliRunner().invoke(app, ["validate", "--json", str(path)])
    (report,) = json.loads(done.stdout)["files"]
    assert done.exit_code == 2 and report["notes"] == [] and report["faults"]
