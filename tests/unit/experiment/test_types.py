from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from katibflow.experiment.types import (
    Distribution,
    Experiment,
    ObjectiveType,
    Parameter,
    ParameterType,
    StrategyValue,
)
from katibflow.experiment.yaml_reader import read_document, read_file
from tests.samples import ABSENT, DOCUMENT, SEED_FILE, changed, experiment


def parameter(space: dict[str, Any], kind: str | None = None) -> Parameter:
    data = {"name": "p", "feasibleSpace": space} | ({"parameterType": kind} if kind else {})
    return Parameter.model_validate(data)


def test_the_seeds_file_loads_unchanged() -> None:
    document = read_document(read_file(SEED_FILE), "seed")
    seed = Experiment.model_validate(document)
    assert seed.document() == document
    assert (seed.name, seed.metadata.namespace) == ("mnist-pytorch", "kubeflow")
    assert seed.spec.objective.goal == 0.001
    assert seed.spec.parallelism == 3
    assert [entry.type for entry in seed.spec.parameters] == [ParameterType.DOUBLE] * 2
    assert seed.spec.parameters[1].feasible_space.list == ("0.5", "0.6", "0.7")


def test_models_are_frozen_and_keep_the_document_as_it_was() -> None:
    document = changed()
    before = copy.deepcopy(document)
    read = Experiment.model_validate(document)
    with pytest.raises(ValidationError):
        read.spec.max_trial_count = 3  # type: ignore[misc]
    assert document == before


@pytest.mark.parametrize(
    ("given", "text"),
    [(1, "1"), (0.5, "0.5"), (1e-05, "1e-05"), (10**30, str(10**30)), ("0.50", "0.50")],
)
def test_a_number_stands_for_its_text(given: object, text: str) -> None:
    assert parameter({"min": given, "max": 1}, "double").feasible_space.min == text
    assert parameter({"list": [given]}).feasible_space.list == (text,)


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_is_no_text(value: bool) -> None:
    with pytest.raises(ValidationError, match="text in quotes; YAML takes true, false, yes, no"):
        parameter({"list": [value]})


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        (["0.5", "1e3"], ParameterType.DISCRETE),
        ([16, 32], ParameterType.DISCRETE),
        (["sgd", "1"], ParameterType.CATEGORICAL),
        (["1", "inf"], ParameterType.CATEGORICAL),
        (["1", "nan"], ParameterType.CATEGORICAL),
    ],
)
def test_a_bare_list_has_a_type_by_its_items(items: list[object], kind: ParameterType) -> None:
    assert parameter({"list": items}).type is kind
    assert parameter({"list": items}, "double").type is ParameterType.DOUBLE


@pytest.mark.parametrize("value", ["", "unknown", None, ABSENT])
def test_an_unknown_distribution_is_uniform(value: object) -> None:
    space = {"min": 1, "max": 2} | ({} if value is ABSENT else {"distribution": value})
    assert parameter(space, "int").feasible_space.distribution is Distribution.UNIFORM


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("min", ObjectiveType.MINIMIZE),
        ("max", ObjectiveType.MAXIMIZE),
        ("minimize", ObjectiveType.MINIMIZE),
        ("maximize", ObjectiveType.MAXIMIZE),
    ],
)
def test_objective_words(word: str, kind: ObjectiveType) -> None:
    assert experiment({"spec.objective.type": word}).spec.objective.type is kind


@pytest.mark.parametrize(
    ("kind", "default"), [("minimize", StrategyValue.MIN), ("maximize", StrategyValue.MAX)]
)
def test_strategies_left_out_follow_the_objectives_type(kind: str, default: StrategyValue) -> None:
    objective = experiment(
        {
            "spec.objective.type": kind,
            "spec.objective.additionalMetricNames": ["accuracy", "f1"],
            "spec.objective.metricStrategies": [{"name": "f1", "value": "latest"}],
        }
    ).spec.objective
    assert objective.metric_names == ("loss", "accuracy", "f1")
    assert [objective.strategy(name) for name in objective.metric_names] == [
        default,
        default,
        StrategyValue.LATEST,
    ]


@pytest.mark.parametrize(
    ("parallel", "most", "expected"),
    [(None, None, 3), (None, 2, 2), (None, 10, 3), (5, None, 5), (5, 10, 5), (1, 1, 1)],
)
def test_three_trials_at_a_time_unless_the_file_says_otherwise(
    parallel: int | None, most: int | None, expected: int
) -> None:
    spec = experiment({"spec.parallelTrialCount": parallel, "spec.maxTrialCount": most}).spec
    assert spec.parallelism == expected


@pytest.mark.parametrize("written", ["12", 12, 12.0])
def test_a_count_may_be_written_as_text(written: object) -> None:
    assert experiment({"spec.maxTrialCount": written}).spec.max_trial_count == 12


def test_null_is_as_good_as_absent() -> None:
    emptied = {
        "metadata.labels": None,
        "spec.objective.goal": None,
        "spec.objective.additionalMetricNames": None,
        "spec.algorithm.algorithmSettings": None,
        "spec.earlyStopping": None,
        "spec.metricsCollectorSpec": None,
        "spec.maxFailedTrialCount": None,
        "spec.trialTemplate.primaryPodLabels": None,
        "spec.parameters.0.feasibleSpace.list": None,
        "spec.resumePolicy": None,
        "status": None,
    }
    assert experiment(emptied) == experiment()


def test_what_the_api_server_added_is_accepted() -> None:
    added = {
        "metadata.uid": "u",
        "metadata.managedFields": [{"manager": "kubectl"}],
        "status.conditions": [{"type": "Created"}],
    }
    read = experiment(added)
    assert read.name == "sample"
    assert "status" not in read.document()


def test_a_trial_spec_may_hold_anything() -> None:
    spec = {
        "metadata": {"creationTimestamp": None},
        "x": [1, 2.5, True, None, {"emptyDir": {}, "n": None}],
    }
    read = experiment({"spec.trialTemplate.trialSpec": spec})
    assert read.spec.trial_template.trial_spec == spec
    assert read.document()["spec"]["trialTemplate"]["trialSpec"] == spec


def test_a_document_reads_back_as_the_same_experiment() -> None:
    full = experiment(
        {
            "metadata.namespace": "team",
            "metadata.labels": {"a": "b"},
            "spec.objective.goal": 0.5,
            "spec.objective.metricStrategies": [{"name": "loss", "value": "latest"}],
            "spec.algorithm.algorithmSettings": [{"name": "random_state", "value": 10}],
            "spec.metricsCollectorSpec.source.filter.metricsFormat": ["(a)(b)"],
            "spec.parameters.1": {"name": "o", "feasibleSpace": {"list": ["a", 1]}},
            "spec.resumePolicy": "LongRunning",
            "spec.trialTemplate.retain": True,
        }
    )
    assert Experiment.model_validate(full.document()) == full
    assert full.document()["spec"]["algorithm"]["algorithmSettings"][0]["value"] == "10"
    assert experiment().document() == DOCUMENT
