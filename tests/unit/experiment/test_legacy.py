"""Files of older Katibs, and architecture search: what became of each thing, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from katibflow.errors import InvalidExperiment
from katibflow.validation.rules import check_document
from tests.samples import changed

STUDY_JOB = """
apiVersion: kubeflow.org/v1alpha1
kind: StudyJob
metadata: {name: random-example, namespace: kubeflow}
spec:
  studyName: random-example
  owner: crd
  optimizationtype: maximize
  objectivevaluename: Validation-accuracy
  optimizationgoal: 0.99
  requestcount: 4
  metricsnames: [accuracy]
  workerSpec: {goTemplate: {rawTemplate: "..."}}
  parameterconfigs:
    - {name: --lr, parametertype: double, feasible: {min: "0.01", max: "0.03"}}
  suggestionSpec: {suggestionAlgorithm: random, requestNumber: 3}
"""


def faults(document: Mapping[str, Any]) -> list[str]:
    with pytest.raises(InvalidExperiment) as caught:
        check_document(document, "f.yaml")
    return [str(fault) for fault in caught.value.faults]


def test_a_study_job_gets_one_line_for_each_thing_it_says() -> None:
    assert faults(yaml.safe_load(STUDY_JOB)) == [
        'apiVersion: found "kubeflow.org/v1alpha1"; allowed: kubeflow.org/v1beta1, whose fields '
        "have other names",
        'kind: found "StudyJob"; allowed: Experiment, of kubeflow.org/v1beta1',
        *(
            f"spec.{key}: found a key of an older Katib; allowed: {now}"
            for key, now in {
                "studyName": "metadata.name",
                "owner": "nothing; the namespace says whose it is",
                "optimizationtype": "objective.type: minimize or maximize",
                "objectivevaluename": "objective.objectiveMetricName",
                "optimizationgoal": "objective.goal",
                "requestcount": "maxTrialCount",
                "metricsnames": "objective.additionalMetricNames",
                "workerSpec": "trialTemplate, with trialSpec and trialParameters",
                "parameterconfigs": "parameters, with name, parameterType and feasibleSpace",
                "suggestionSpec": "algorithm, with algorithmName and algorithmSettings",
            }.items()
        ),
    ]


@pytest.mark.parametrize("version", ["v1alpha2", "v1alpha3"])
def test_a_go_template_gets_told_how_templates_are_written_now(version: str) -> None:
    given = changed(
        {
            "apiVersion": f"kubeflow.org/{version}",
            "spec.trialTemplate": {"goTemplate": {"rawTemplate": "{{.Trial}}"}},
        }
    )
    assert faults(given) == [
        f'apiVersion: found "kubeflow.org/{version}"; allowed: kubeflow.org/v1beta1, whose '
        "fields have other names",
        "spec.trialTemplate.goTemplate: found a key of an older Katib; allowed: trialSpec with "
        "the manifest itself, ${trialParameters.NAME} where a value goes in, and an entry of "
        "trialParameters with its name and reference for each; the name and the namespace of the "
        "job are left out",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"spec.trialTemplate.templateSpec": {}},
            "spec.trialTemplate.templateSpec: found a key of an older Katib; allowed: configMap, "
            "with configMapName, configMapNamespace and templatePath",
        ),
        (
            {"spec.metricsCollectorSpec": {"goTemplate": {}}},
            "spec.metricsCollectorSpec.goTemplate: found a key of an older Katib; allowed: "
            "collector.kind, as StdOut: no cron job collects metrics any more",
        ),
        (
            {"spec.parameters.0.feasible": {"min": "0"}},
            "spec.parameters[0].feasible: found a key of an older Katib; allowed: feasibleSpace",
        ),
        (
            {"spec.parameters.0.parametertype": "int"},
            "spec.parameters[0].parametertype: found a key of an older Katib; allowed: "
            "parameterType",
        ),
    ],
)
def test_an_old_key_in_todays_version(changes: Mapping[str, Any], message: str) -> None:
    assert faults(changed(changes)) == [message]


def test_another_version_that_never_was_is_an_ordinary_fault() -> None:
    (fault,) = faults(changed({"apiVersion": "kubeflow.org/v1"}))
    assert fault == 'apiVersion: found "kubeflow.org/v1"; allowed: kubeflow.org/v1beta1'
