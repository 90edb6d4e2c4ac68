from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from katibflow.errors import InputError, InvalidExperiment
from katibflow.validation.rules import check_document, load_experiment
from tests.samples import ABSENT, DOCUMENT, JOB, SEED_FILE, changed

LR = "spec.parameters.0.feasibleSpace"
TEMPLATE = "spec.trialTemplate"
POD = "spec.trialTemplate.trialSpec.spec.template.spec"
TRAINING_JOB = {
    "apiVersion": "kubeflow.org/v1",
    "kind": "PyTorchJob",
    "spec": {
        "pytorchReplicaSpecs": {
            "Master": {"template": JOB["spec"]["template"]},
            "Worker": {"replicas": 2, "template": JOB["spec"]["template"]},
        }
    },
}
TRAIN_JOB = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "TrainJob",
    "spec": {
        "runtimeRef": {"name": "torch-distributed"},
        "trainer": {"args": ["--lr=${trialParameters.lr}"]},
        "podTemplateOverrides": [{"spec": {"containers": [{"name": "main"}]}}],
    },
}
WORKFLOW = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Workflow",
    "spec": {
        "templates": [{"name": "train", "container": {"args": ["--lr=${trialParameters.lr}"]}}]
    },
}
RAY_JOB = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "spec": {
        "entrypoint": "train --lr=${trialParameters.lr}",
        "submitterPodTemplate": {"spec": {"containers": [{"name": "main"}]}},
    },
}
CONFIG_MAP = {"configMapName": "x", "configMapNamespace": "n", "templatePath": "job.yaml"}
OWN_KIND = {"apiVersion": "example.org/v1", "kind": "Mine", "x": "${trialParameters.lr}"}


def faults(changes: Mapping[str, Any]) -> list[str]:
    try:
        check_document(changed(changes), "f.yaml")
    except InvalidExperiment as error:
        return [str(fault) for fault in error.faults]
    return []


def test_the_seeds_file_is_right() -> None:
    assert load_experiment(SEED_FILE).name == "mnist-pytorch"


def test_a_right_document_is_read() -> None:
    assert check_document(DOCUMENT, "f").document() == DOCUMENT


RIGHT: list[dict[str, Any]] = [
    {"metadata.name": "a"},
    {"metadata.name": "a" * 40},
    {"metadata.name": "a1-b-2"},
    {"metadata.namespace": "0-team"},
    {"spec.parallelTrialCount": 4, "spec.maxTrialCount": 4, "spec.maxFailedTrialCount": 4},
    {"spec.maxTrialCount": 1},
    {"spec.maxFailedTrialCount": 0},
    {LR: {"list": ["0.5", "0.6"]}},
    {LR: {"min": 0.1, "max": 0.1}},
    {LR: {"min": "1e-5", "max": "1e-1", "distribution": "logUniform"}},
    {LR: {"min": "0.1", "max": "0.5", "step": "0.4"}},
    {"spec.parameters.0": {"name": "lr", "feasibleSpace": {"list": ["a", 1]}}},
    {f"{TEMPLATE}.trialSpec": TRAINING_JOB},
    {
        f"{TEMPLATE}.trialSpec": OWN_KIND,
        f"{TEMPLATE}.successCondition": "x",
        f"{TEMPLATE}.failureCondition": "y",
        f"{TEMPLATE}.primaryPodLabels": {"a": "b"},
    },
    {f"{TEMPLATE}.trialParameters.1": {"name": "n", "reference": "${trialSpec.Name}"}}
    | {f"{POD}.containers.0.env": [{"name": "N", "value": "${trialParameters.n}"}]},
    {"spec.metricsCollectorSpec.collector.kind": "StdOut"},
    {"spec.metricsCollectorSpec.source.filter.metricsFormat": [r"([\w|-]+)\s*:\s*([\d.]+)"]},
    {"spec.metricsCollectorSpec.source.filter.metricsFormat": ["([[:alpha:]]+)=([[:digit:]]+)"]},
    *(
        {
            "spec.metricsCollectorSpec": {"collector": {"kind": collector}},
            f"{TEMPLATE}.trialSpec": spec,
            f"{TEMPLATE}.primaryPodLabels": {"step": "train"},
        }
        for collector, spec in (
            ("StdOut", TRAIN_JOB),
            ("Push", TRAIN_JOB),
            ("StdOut", WORKFLOW),
            ("File", RAY_JOB),
        )
    ),
    {"spec.objective.metricStrategies": [{"name": "loss", "value": "latest"}]},
    {f"{TEMPLATE}.trialSpec.metadata": {"creationTimestamp": None, "name": None}},
]


@pytest.mark.parametrize("changes", RIGHT, ids=lambda changes: next(iter(changes)))
def test_right_experiments(changes: dict[str, Any]) -> None:
    assert faults(changes) == []


RULES: list[tuple[dict[str, Any], str]] = [
    # Names.
    *(
        (
            {"metadata.name": name},
            f'metadata.name: found "{name}"; allowed: at most 40 of a-z, 0-9 and -, first a '
            "letter, last no -",
        )
        for name in ("a" * 41, "Upper", "1st", "-a", "a-", "a.b", "a_b", "ä", "../x")
    ),
    *(
        (
            {"metadata.namespace": name},
            f'metadata.namespace: found "{name}"; allowed: at most 63 of a-z, 0-9 and -, first '
            "and last no -",
        )
        for name in ("Team", "a/b", "-a", "a" * 64)
    ),
    # Counts.
    (
        {"spec.parallelTrialCount": 0},
        "spec.parallelTrialCount: found 0; allowed: a whole number above 0",
    ),
    ({"spec.maxTrialCount": -1}, "spec.maxTrialCount: found -1; allowed: a whole number above 0"),
    (
        {"spec.maxFailedTrialCount": -1},
        "spec.maxFailedTrialCount: found -1; allowed: 0 or a whole number above",
    ),
    (
        {"spec.parallelTrialCount": 5, "spec.maxTrialCount": 4},
        "spec.parallelTrialCount: found 5; allowed: at most maxTrialCount, 4",
    ),
    (
        {"spec.maxFailedTrialCount": 5, "spec.maxTrialCount": 4},
        "spec.maxFailedTrialCount: found 5; allowed: at most maxTrialCount, 4",
    ),
    # Objective and metrics.
    (
        {"spec.objective.additionalMetricNames": ["a", "loss"]},
        'spec.objective.additionalMetricNames: found "loss"; allowed: metrics other than '
        "objectiveMetricName",
    ),
    (
        {"spec.objective.metricStrategies": [{"name": "los", "value": "min"}]},
        'spec.objective.metricStrategies[0].name: found "los"; allowed: loss',
    ),
    (
        {"spec.objective.metricStrategies": [{"name": "loss", "value": "min"}] * 2},
        'spec.objective.metricStrategies[1].name: found "loss" again; allowed: each metric once',
    ),
    (
        {"spec.metricsCollectorSpec.source.filter.metricsFormat": ["(a)(b)", "(a"]},
        'spec.metricsCollectorSpec.source.filter.metricsFormat[1]: found "(a"; allowed: a regular '
        "expression in RE2's syntax (missing ): (a)",
    ),
    (
        {"spec.metricsCollectorSpec.source.filter.metricsFormat": [r"(?<=x)(a)(b)"]},
        'spec.metricsCollectorSpec.source.filter.metricsFormat[0]: found "(?<=x)(a)(b)"; allowed: '
        "a regular expression in RE2's syntax (invalid perl operator: (?<",
    ),
    (
        {"spec.metricsCollectorSpec.source.filter.metricsFormat": ["(a)"]},
        'spec.metricsCollectorSpec.source.filter.metricsFormat[0]: found "(a)"; allowed: two '
        "groups at least: the metric's name, then its value",
    ),
    *(
        (
            {
                f"{TEMPLATE}.trialSpec": spec,
                f"{TEMPLATE}.primaryPodLabels": {"step": "train"},
                "spec.metricsCollectorSpec": {"collector": {"kind": collector}},
            },
            f'spec.metricsCollectorSpec.collector.kind: found "{collector}"; allowed: StdOut or '
            f"Push with a {spec['kind']}, whose object describes no pod with the container "
            '"main" that a reader could be added to',
        )
        for spec in (TRAIN_JOB, WORKFLOW)
        for collector in ("File", "TensorFlowEvent", "PrometheusMetric")
    ),
    # Parameters.
    (
        {"spec.parameters": [], f"{TEMPLATE}.trialParameters": [], f"{TEMPLATE}.trialSpec": JOB}
        | {f"{POD}.containers.0.args": []},
        "spec.parameters: found an empty list; allowed: at least one parameter",
    ),
    (
        {"spec.parameters.0.parameterType": ABSENT},
        "spec.parameters[0].parameterType: missing; allowed: double, int, discrete, categorical",
    ),
    (
        {f"{LR}.list": ["1"]},
        "spec.parameters[0].feasibleSpace: found list next to min, max or step; allowed: one or "
        "the other",
    ),
    ({LR: {"max": 1}}, "spec.parameters[0].feasibleSpace.min: missing; allowed: a number, for"),
    ({LR: {"min": 1}}, "spec.parameters[0].feasibleSpace.max: missing; allowed: a number, for"),
    ({f"{LR}.min": "x"}, 'spec.parameters[0].feasibleSpace.min: found "x"; allowed: a finite num'),
    ({f"{LR}.max": ".inf"}, 'spec.parameters[0].feasibleSpace.max: found ".inf"; allowed: a finit'),
    ({f"{LR}.max": "inf"}, 'spec.parameters[0].feasibleSpace.max: found "inf"; allowed: a finite'),
    (
        {f"{LR}.max": "0.05"},
        'spec.parameters[0].feasibleSpace.max: found "0.05"; allowed: at least',
    ),
    ({f"{LR}.step": "0.5"}, 'spec.parameters[0].feasibleSpace.step: found "0.5"; allowed: at most'),
    ({f"{LR}.step": "0"}, 'spec.parameters[0].feasibleSpace.step: found "0"; allowed: above 0'),
    (
        {f"{LR}.distribution": "logNormal", f"{LR}.min": "0"},
        'spec.parameters[0].feasibleSpace.min: found "0"; allowed: above 0, for logNormal',
    ),
    (
        {f"{LR}.distribution": "logUniform", f"{LR}.min": "-2", f"{LR}.max": "0"},
        'spec.parameters[0].feasibleSpace.max: found "0"; allowed: at least 1e-10, for logUniform',
    ),
    (
        {"spec.parameters.0.parameterType": "int"},
        'spec.parameters[0].feasibleSpace.min: found "0.1"; allowed: a whole number',
    ),
    (
        {"spec.parameters.0.parameterType": "categorical"},
        "spec.parameters[0].feasibleSpace.list: missing; allowed: the values of the categorical",
    ),
    (
        {"spec.parameters.0": {"name": "lr", "parameterType": "double"}}
        | {LR: {"list": ["1", "a"]}},
        'spec.parameters[0].feasibleSpace.list[1]: found "a"; allowed: a finite number',
    ),
    (
        {"spec.parameters.1": DOCUMENT["spec"]["parameters"][0]},
        'spec.parameters[1].name: found "lr" again; allowed: a name used once',
    ),
    # Algorithm and early stopping.
    (
        {"spec.algorithm.algorithmName": "randon"},
        'spec.algorithm.algorithmName: found "randon" (did you mean random?); allowed: ',
    ),
    (
        {"spec.algorithm.algorithmSettings": [{"name": "seed", "value": "1"}]},
        'spec.algorithm.algorithmSettings[0].name: found "seed"; allowed: random_state, for random',
    ),
    (
        {"spec.algorithm.algorithmSettings": [{"name": "random_state", "value": "x"}]},
        'spec.algorithm.algorithmSettings[0].value: found "x"; allowed: 0 to 4294967295',
    ),
    (
        {"spec.algorithm.algorithmSettings": [{"name": "random_state", "value": "1"}] * 2},
        'spec.algorithm.algorithmSettings[1].name: found "random_state" again; allowed: each',
    ),
    (
        {"spec.algorithm.algorithmName": "grid"},
        "spec.parameters[0].feasibleSpace.step: missing; allowed: a number, for algorithm grid",
    ),
    (
        {"spec.algorithm.algorithmName": "cmaes"},
        "spec.parameters: found 1 numeric; allowed: at least two, for algorithm cmaes",
    ),
    (
        {"spec.earlyStopping.algorithmName": "mean"},
        'spec.earlyStopping.algorithmName: found "mean"; allowed: medianstop',
    ),
    *(
        (
            {"spec.earlyStopping": {"algorithmName": "medianstop"}}
            | {
                "spec.earlyStopping.algorithmSettings": [{"name": "start_step", "value": value}],
            },
            f'spec.earlyStopping.algorithmSettings[0].value: found "{value}"; allowed: a whole '
            "number of at least 1",
        )
        for value in ("0", "-1", "x", "1.5")
    ),
    (
        {
            "spec.earlyStopping": {"algorithmName": "medianstop"},
            "spec.earlyStopping.algorithmSettings": [{"name": "start_step", "value": "9" * 5000}],
        },
        f'spec.earlyStopping.algorithmSettings[0].value: found "{"9" * 499}...; allowed: a whole '
        "number of at least 1",
    ),
    # Template.
    (
        {f"{TEMPLATE}.trialSpec": ABSENT},
        "spec.trialTemplate.trialSpec: missing; allowed: a Kubernetes object, as a PyTorchJob or "
        "a Job",
    ),
    (
        {f"{TEMPLATE}.trialSpec": ABSENT, f"{TEMPLATE}.configMap": CONFIG_MAP},
        "spec.trialTemplate.configMap: found ConfigMap x of namespace n, which is not at hand; "
        "allowed: --config-map FILE, with what `kubectl get configmap x -n n -o yaml` prints; or "
        "trialSpec",
    ),
    (
        {f"{TEMPLATE}.trialParameters.0.reference": "lrr"},
        'spec.trialTemplate.trialParameters[0].reference: found "lrr" (did you mean lr?); allowed: '
        "a parameter's name: lr",
    ),
    (
        {f"{TEMPLATE}.trialParameters.1": {"name": "lr", "reference": "lr"}},
        'spec.trialTemplate.trialParameters[1].name: found "lr" again; allowed: a name used once',
    ),
    (
        {f"{TEMPLATE}.trialParameters.1": {"name": "b", "reference": "lr"}},
        'spec.trialTemplate.trialParameters[1].reference: found "lr" again; allowed: each',
    ),
    (
        {f"{TEMPLATE}.trialParameters.1": {"name": "b", "reference": "${trialSpec.Nam}"}},
        "spec.trialTemplate.trialParameters[1].reference: found ${trialSpec.Nam}, which resolves "
        "to nothing; allowed: Name, Namespace, Kind, APIVersion, Annotations[key], Labels[key]",
    ),
    (
        {f"{TEMPLATE}.trialParameters.0.name": "rate"},
        'spec.trialTemplate.trialParameters[0].name: found "rate", which trialSpec does not use; '
        "allowed: ${trialParameters.rate} somewhere in trialSpec",
    ),
    (
        {f"{POD}.containers.0.args.1": "${trialParameters.x}"},
        "spec.trialTemplate.trialSpec.spec.template.spec.containers[0].args[1]: found "
        "${trialParameters.x}, which resolves to nothing; allowed: ${trialParameters.lr}",
    ),
    (
        {f"{POD}.containers.0.args.1": "a${trialSpec.Labels[a.b/c]}"},
        "spec.trialTemplate.trialSpec.spec.template.spec.containers[0].args[1]: found "
        "${trialSpec.Labels[a.b/c]}, which resolves to nothing; allowed: Name, ",
    ),
    (
        {"spec.parameters.1": {"name": "unused", "feasibleSpace": {"list": ["a"]}}},
        'spec.parameters[1].name: found "unused", which no trialParameter refers to; allowed: a '
        "parameter that one of trialParameters has as its reference",
    ),
    # Job.
    (
        {f"{TEMPLATE}.trialSpec.kind": ABSENT},
        'spec.trialTemplate.trialSpec.kind: missing; allowed: a string, as "Job"',
    ),
    (
        {f"{TEMPLATE}.trialSpec.apiVersion": 1},
        'spec.trialTemplate.trialSpec.apiVersion: found 1; allowed: a string, as "batch/v1"',
    ),
    (
        {f"{TEMPLATE}.trialSpec.metadata.name": "x"},
        'spec.trialTemplate.trialSpec.metadata.name: found "x"; allowed: nothing: every trial gets '
        "its own name, in the experiment's namespace",
    ),
    (
        {f"{TEMPLATE}.trialSpec.metadata": ["x"]},
        "spec.trialTemplate.trialSpec.metadata: found a list of 1; allowed: a mapping",
    ),
    (
        {f"{TEMPLATE}.primaryContainerName": ABSENT},
        "spec.trialTemplate.primaryContainerName: missing; allowed: the name of the training con",
    ),
    (
        {f"{TEMPLATE}.primaryContainerName": "other"},
        'spec.trialTemplate.primaryContainerName: found "other", which no pod of trialSpec has; '
        "allowed: main",
    ),
    (
        {f"{POD}.containers": ABSENT, f"{POD}.x": "${trialParameters.lr}"},
        "spec.trialTemplate.trialSpec.spec.template.spec.containers: missing; allowed: a list",
    ),
    (
        {f"{POD}.containers": "${trialParameters.lr}"},
        "spec.trialTemplate.trialSpec.spec.template.spec.containers: found "
        '"${trialParameters.lr}"; allowed: a list with a container',
    ),
    (
        {f"{POD}.containers.1": {"image": "x"}},
        "spec.trialTemplate.trialSpec.spec.template.spec.containers[1].name: missing; allowed: a",
    ),
    (
        {f"{TEMPLATE}.trialSpec": changed({"spec.template": ABSENT}, JOB)}
        | {f"{TEMPLATE}.trialSpec.x": "${trialParameters.lr}"},
        "spec.trialTemplate.trialSpec.spec.template: missing; allowed: a mapping that describes",
    ),
    *(
        (
            {
                f"{TEMPLATE}.trialSpec": changed(
                    {"spec.pytorchReplicaSpecs.Worker.replicas": count}, TRAINING_JOB
                )
            },
            "spec.trialTemplate.trialSpec.spec.pytorchReplicaSpecs.Worker.replicas: found "
            f"{shown}; allowed: a whole number above 0",
        )
        for count, shown in ((0, "0"), ("two", '"two"'), (1.5, "1.5"), (True, "true"))
    ),
]


@pytest.mark.parametrize(
    ("changes", "message"), RULES, ids=lambda value: value[:60] if isinstance(value, str) else ""
)
def test_each_rule_has_one_fault_in_words(changes: dict[str, Any], message: str) -> None:
    found = [fault for fault in faults(changes) if fault.startswith(message.split(": ")[0] + ": ")]
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_kind_without_defaults_needs_its_conditions_and_labels() -> None:
    for kind in (OWN_KIND, OWN_KIND | {"apiVersion": "kubeflow.org/v1", "kind": "JAXJob"}):
        paths = [fault.split(": ")[0] for fault in faults({f"{TEMPLATE}.trialSpec": kind})]
        for key in ("successCondition", "failureCondition", "primaryPodLabels"):
            assert f"spec.trialTemplate.{key}" in paths


def test_all_faults_are_listed_at_once_in_the_files_order() -> None:
    with pytest.raises(InvalidExperiment) as caught:
        check_document(
            changed(
                {
                    "metadata.name": "Bad_Name",
                    "spec.objective.type": "least",
                    "spec.objective.goal": "low",
                    "spec.algorithm.algorithmName": "tpee",
                    "spec.parameters.0.feasibleSpace": {"min": "x", "maxx": "1"},
                    "spec.parameters.1": {"name": "unused", "feasibleSpace": {"list": []}},
                    "spec.maxTrialCount": 2,
                    "spec.parallelTrialCount": 5,
                    "spec.trialTemplate.primaryContainerNam": "main",
                    "spec.trialTemplate.trialParameters.0.reference": "rl",
                }
            ),
            "my.yaml",
        )
    lines = str(caught.value).splitlines()
    assert all(line.startswith("my.yaml: ") for line in lines)
    assert [line.split(": ")[1] for line in lines] == [
        "metadata.name",
        "spec.objective.type",
        "spec.objective.goal",
        "spec.algorithm.algorithmName",
        "spec.parameters[0].name",
        "spec.parameters[0].feasibleSpace.min",
        "spec.parameters[0].feasibleSpace.maxx",
        "spec.parameters[0].feasibleSpace.max",
        "spec.parameters[1].name",
        "spec.parameters[1].parameterType",
        "spec.trialTemplate.trialParameters[0].reference",
        "spec.trialTemplate.primaryContainerNam",
        "spec.parallelTrialCount",
    ]


def test_a_wrong_field_is_not_reported_as_missing_too() -> None:
    assert faults({f"{TEMPLATE}.primaryContainerName": 5}) == [
        "spec.trialTemplate.primaryContainerName: found 5; allowed: a string"
    ]


def test_an_experiment_needs_parameters() -> None:
    found = faults({"spec.parameters": ABSENT})
    assert "spec.parameters: found an empty list; allowed: at least one parameter" in found


def test_a_file_that_is_no_yaml_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: [")
    with pytest.raises(InputError, match=r"x\.yaml, line 2, column 1: not YAML"):
        load_experiment(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.maxTrialCount", 10**3000),
        ("spec.parallelTrialCount", 2**31),
        ("spec.trialTemplate.trialSpec.kind", "{{workflow.name}}"),
        ("spec.trialTemplate.trialSpec.apiVersion", "a/b/../{{inputs.x}}"),
    ],
)
def test_a_number_or_a_name_that_no_cluster_takes_is_a_fault(path: str, value: object) -> None:
    with pytest.raises(InvalidExperiment) as caught:
        check_document(changed({path: value}), "x")
    assert [fault.path for fault in caught.value.faults] == [path]
    assert len(str(caught.value)) < 300
