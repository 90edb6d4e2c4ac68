from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from katibflow.experiment.parsing import parse
from tests.samples import ABSENT, DOCUMENT, changed

SPACE = "spec.parameters.0.feasibleSpace"


def field_faults(changes: Mapping[str, Any]) -> list[str]:
    experiment, _, faults = parse(changed(changes))
    assert (experiment is None) == bool(faults)
    return [str(fault) for fault in faults]


def test_a_right_document_has_no_faults() -> None:
    experiment, parts, faults = parse(DOCUMENT)
    assert faults == ()
    assert experiment is not None
    assert parts.complete
    assert [(index, parameter.name) for index, parameter in parts.parameters] == [(0, "lr")]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("apiVersion", "v1", 'apiVersion: found "v1"; allowed: kubeflow.org/v1beta1'),
        ("apiVersion", ABSENT, "apiVersion: missing; allowed: kubeflow.org/v1beta1"),
        ("kind", "Trial", 'kind: found "Trial"; allowed: Experiment'),
        ("metadata", ABSENT, "metadata: missing; allowed: a mapping with name, namespace, "),
        ("metadata.name", ABSENT, "metadata.name: missing; allowed: a string"),
        ("metadata.name", 5, "metadata.name: found 5; allowed: a string"),
        ("metadata.labels", {"a": 1}, "metadata.labels.a: found 1; allowed: a string"),
        ("spec", [1], "spec: found a list of 1; allowed: a mapping"),
        ("spec", ABSENT, "spec: missing; allowed: a mapping with parameters, objective, "),
        ("spec.objective", "x", 'spec.objective: found "x"; allowed: a mapping'),
        ("spec.objective", ABSENT, "spec.objective: missing; allowed: a mapping with type, goal"),
        (
            "spec.objective.type",
            "minimise",
            'spec.objective.type: found "minimise"; allowed: minimize or maximize',
        ),
        ("spec.objective.type", ABSENT, "spec.objective.type: missing; allowed: minimize, maxi"),
        ("spec.objective.type", ["min"], "spec.objective.type: found a list of 1; allowed: mini"),
        ("spec.objective.goal", "low", 'spec.objective.goal: found "low"; allowed: a number'),
        ("spec.objective.goal", True, "spec.objective.goal: found true; allowed: a number"),
        ("spec.objective.goal", ".inf", 'spec.objective.goal: found ".inf"; allowed: a number'),
        ("spec.objective.goal", "nan", 'spec.objective.goal: found "nan"; allowed: a finite'),
        ("spec.objective.goal", [], "spec.objective.goal: found a list of 0; allowed: a number"),
        (
            "spec.objective.objectiveMetricName",
            "",
            'spec.objective.objectiveMetricName: found ""; allowed: a text that is not empty',
        ),
        (
            "spec.objective.additionalMetricNames",
            "accuracy",
            'spec.objective.additionalMetricNames: found "accuracy"; allowed: a list',
        ),
        (
            "spec.objective.metricStrategies",
            [{"name": "loss", "value": "mean"}],
            'spec.objective.metricStrategies[0].value: found "mean"; allowed: min, max or latest',
        ),
        ("spec.parameters", {}, "spec.parameters: found an empty mapping; allowed: a list"),
        ("spec.parameters.0", "lr", 'spec.parameters[0]: found "lr"; allowed: a mapping'),
        ("spec.parameters.0.name", ABSENT, "spec.parameters[0].name: missing; allowed: a string"),
        (
            "spec.parameters.0.parameterType",
            "float",
            'spec.parameters[0].parameterType: found "float"; '
            "allowed: double, int, discrete or categorical",
        ),
        (
            "spec.parameters.0.feasibleSpace",
            ABSENT,
            "spec.parameters[0].feasibleSpace: missing; allowed: a mapping with min, max, step, "
            "list, distribution",
        ),
        (
            f"{SPACE}.list",
            ["a", True],
            "spec.parameters[0].feasibleSpace.list[1]: found true; allowed: text in quotes; YAML "
            "takes true, false, yes, no, on, off as booleans",
        ),
        (
            f"{SPACE}.list",
            ["a", None],
            "spec.parameters[0].feasibleSpace.list[1]: found nothing (null); allowed: a string",
        ),
        (
            f"{SPACE}.list",
            ["a", [1]],
            "spec.parameters[0].feasibleSpace.list[1]: found a list of 1; allowed: a string",
        ),
        (f"{SPACE}.list", "abc", 'spec.parameters[0].feasibleSpace.list: found "abc"; allowed: a'),
        (
            f"{SPACE}.distribution",
            "lognormal",
            'spec.parameters[0].feasibleSpace.distribution: found "lognormal"; '
            "allowed: uniform, logUniform, normal or logNormal",
        ),
        ("spec.maxTrialCount", 3.5, "spec.maxTrialCount: found 3.5; allowed: a whole number"),
        ("spec.maxTrialCount", "many", 'spec.maxTrialCount: found "many"; allowed: a whole number'),
        ("spec.maxTrialCount", True, "spec.maxTrialCount: found true; allowed: a number"),
        (
            "spec.resumePolicy",
            "Always",
            'spec.resumePolicy: found "Always"; allowed: Never, LongRunning or FromVolume',
        ),
        ("spec.trialTemplate.retain", "maybe", 'spec.trialTemplate.retain: found "maybe"; allowed'),
        (
            "spec.trialTemplate.trialSpec",
            "kind: Job",
            'spec.trialTemplate.trialSpec: found "kind: Job"; allowed: a mapping',
        ),
        (
            "spec.trialTemplate.trialParameters.0.reference",
            ABSENT,
            "spec.trialTemplate.trialParameters[0].reference: missing; allowed: a string",
        ),
    ],
)
def test_a_wrong_field_is_named_with_what_is_allowed(
    path: str, value: object, message: str
) -> None:
    faults = field_faults({path: value})
    assert len(faults) == 1
    assert faults[0].startswith(message)


@pytest.mark.parametrize(
    ("path", "where", "hint"),
    [
        ("specs", "specs", "(did you mean spec?)"),
        ("spec.paralelTrialCount", "spec.paralelTrialCount", "(did you mean parallelTrialCount?)"),
        ("spec.maxtrialcount", "spec.maxtrialcount", "(did you mean maxTrialCount?)"),
        ("spec.max_trial_count", "spec.max_trial_count", "(did you mean maxTrialCount?)"),
        ("spec.objective.gaol", "spec.objective.gaol", "(did you mean goal?)"),
        (f"{SPACE}.mni", "spec.parameters[0].feasibleSpace.mni", "(did you mean min?)"),
        (
            "spec.objective.metricStrategies",
            "spec.objective.metricStrategies[0].vaule",
            "(did you mean value?)",
        ),
        (
            "spec.trialTemplate.trialParameters.0.refrence",
            "spec.trialTemplate.trialParameters[0].refrence",
            "(did you mean reference?)",
        ),
        (
            "spec.metricsCollectorSpec.source.filter.metricFormat",
            "spec.metricsCollectorSpec.source.filter.metricFormat",
            "(did you mean metricsFormat?)",
        ),
        ("spec.zzz", "spec.zzz", "; allowed: parameters, objective, algorithm, earlyStopping, "),
        ("spec.trialTemplate.goTemplate", "spec.trialTemplate.goTemplate", "trialParameters, "),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(path: str, where: str, hint: str) -> None:
    strategy = [{"name": "loss", "value": "min", "vaule": "min"}]
    faults = field_faults({path: strategy if path.endswith("Strategies") else None})
    assert len(faults) == 1
    assert faults[0].startswith(f"{where}: found an unknown key")
    assert hint in faults[0]


def test_all_wrong_fields_are_found_at_once() -> None:
    faults = field_faults(
        {
            "spec.objective.type": "least",
            "spec.parameters.0.parameterType": "real",
            "spec.parameters.1": {"nam": "x", "feasibleSpace": {"list": [True]}},
            "spec.maxTrialCount": "x",
            "spec.trialTemplate.trialParameters": [{"name": "lr"}],
        }
    )
    assert [fault.split(":")[0] for fault in faults] == [
        "spec.parameters[0].parameterType",
        "spec.parameters[1].name",
        "spec.parameters[1].feasibleSpace.list[0]",
        "spec.parameters[1].nam",
        "spec.objective.type",
        "spec.maxTrialCount",
        "spec.trialTemplate.trialParameters[0].reference",
    ]


def test_what_is_readable_beside_a_fault_is_read() -> None:
    _, parts, _ = parse(
        changed(
            {
                "spec.parameters.0.feasibleSpace.mni": 1,
                "spec.parameters.1": {"parameterType": "int", "feasibleSpace": {}},
                "spec.parameters.2": {"name": "ok", "parameterType": "x", "feasibleSpace": {}},
                "spec.trialTemplate.trialParameters.0.descripton": "typo",
                "spec.trialTemplate.retain": "maybe",
                "spec.maxTrialCount": True,
                "spec.parallelTrialCount": 2,
            }
        )
    )
    assert [(index, each.name) for index, each in parts.parameters] == [(0, "lr"), (2, "ok")]
    assert not parts.complete
    assert parts.trial_template is not None
    assert parts.trial_template.trial_parameters[0].reference == "lr"
    assert parts.trial_template.retain is False
    assert parts.max_trial_count is None
    assert parts.parallel_trial_count == 2


KEYS = ["spec", "metadata", "objective", "parameters", "feasibleSpace", "list", "name", "x"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=10,
)
PLACES = st.sampled_from(
    [
        "spec",
        "metadata",
        "spec.objective",
        "spec.parameters",
        "spec.parameters.0",
        SPACE,
        f"{SPACE}.list",
        "spec.algorithm",
        "spec.trialTemplate",
        "spec.trialTemplate.trialParameters",
        "spec.metricsCollectorSpec",
    ]
)


@given(PLACES, JSON)
def test_any_data_anywhere_is_an_experiment_or_has_faults(place: str, data: object) -> None:
    experiment, _, faults = parse(changed({place: data}))
    assert (experiment is None) == bool(faults)
    assert all(str(fault) for fault in faults)
