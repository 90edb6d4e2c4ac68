"""Whether trials on record count for a changed Experiment."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.errors import InvalidExperiment
from katibflow.resume import check_resume

from .samples import changed, experiment

PARAMETER = {"name": "n", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "9"}}


def differences(changes: dict[str, Any]) -> list[str]:
    try:
        check_resume("new.yaml", experiment(changes), experiment())
    except InvalidExperiment as error:
        return [str(fault) for fault in error.faults]
    return []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spec.maxTrialCount": 50, "spec.parallelTrialCount": 7, "spec.maxFailedTrialCount": 2},
        {"spec.objective.goal": 0.5},
        {"spec.algorithm.algorithmName": "tpe"},
        {"spec.earlyStopping": {"algorithmName": "medianstop"}},
        {"spec.trialTemplate.primaryContainerName": "other"},
        {"spec.objective.additionalMetricNames": ["accuracy"]},
        {"spec.objective.metricStrategies": [{"name": "loss", "value": "min"}]},
        {"metadata.name": "another"},
        {"spec.resumePolicy": "LongRunning"},
    ],
    ids=str,
)
def test_what_may_change(changes: dict[str, Any]) -> None:
    assert differences(changes) == []


@pytest.mark.parametrize(
    ("changes", "path", "allowed"),
    [
        ({"spec.parameters.1": PARAMETER}, "spec.parameters[1]", "only lr"),
        ({"spec.parameters.0": PARAMETER}, "spec.parameters", "a parameter lr"),
        (
            {"spec.parameters.0.feasibleSpace.max": "0.6"},
            "spec.parameters[0].feasibleSpace",
            '"max":"0.5"',
        ),
        (
            {"spec.parameters.0.feasibleSpace.distribution": "logUniform"},
            "spec.parameters[0].feasibleSpace",
            '"max":"0.5"',
        ),
        ({"spec.objective.type": "maximize"}, "spec.objective.type", "minimize"),
        (
            {"spec.objective.objectiveMetricName": "error"},
            "spec.objective.objectiveMetricName",
            "loss",
        ),
        (
            {"spec.objective.metricStrategies": [{"name": "loss", "value": "latest"}]},
            "spec.objective.metricStrategies",
            "min for loss",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_may_not_change(changes: dict[str, Any], path: str, allowed: str) -> None:
    found = differences(changes)
    assert any(text.startswith(f"{path}: ") and allowed in text for text in found)
    assert all("as the trials on record of sample have it" in text for text in found)


def test_a_changed_type_is_named() -> None:
    new = changed(
        {
            "spec.parameters.0.parameterType": "int",
            "spec.parameters.0.feasibleSpace": {"min": "1", "max": "5"},
        }
    )
    found = differences({"spec.parameters.0": new["spec"]["parameters"][0]})
    assert found[0].startswith("spec.parameters[0].parameterType: found int; allowed: double")


def test_all_differences_come_at_once() -> None:
    found = differences(
        {
            "spec.objective.type": "maximize",
            "spec.parameters.0.feasibleSpace.max": "0.7",
            "spec.parameters.1": PARAMETER,
        }
    )
    assert len(found) >= 3


def test_the_order_of_parameters_may_change() -> None:
    two = {"spec.parameters.1": PARAMETER}
    turned = experiment(two)
    parameters = list(reversed(changed(two)["spec"]["parameters"]))
    check_resume("new.yaml", experiment({"spec.parameters": parameters}), turned)


def test_a_uniform_distribution_spelled_out_is_no_difference() -> None:
    assert differences({"spec.parameters.0.feasibleSpace.distribution": "uniform"}) == []
