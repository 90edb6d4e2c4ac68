"""Finds files for an older Katib, and says what replaces each key.

Such a file has so many faults that the other rules would say little, so they are not checked then.

Source: ``pkg/apis/controller`` of kubeflow/katib at v0.1 (v1alpha1), v0.6 (v1alpha2), v0.9
(v1alpha3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from katibflow.errors import Fault
from katibflow.experiment.yaml_reader import found

__all__ = ["legacy_faults"]

_TODAY = "kubeflow.org/v1beta1"
_VERSIONS = {"kubeflow.org/v1alpha1", "kubeflow.org/v1alpha2", "kubeflow.org/v1alpha3"}

_SPEC: Mapping[str, str] = {
    "metricsnames": "objective.additionalMetricNames",
    "objectivevaluename": "objective.objectiveMetricName",
    "optimizationgoal": "objective.goal",
    "optimizationtype": "objective.type: minimize or maximize",
    "owner": "nothing; the namespace says whose it is",
    "parameterconfigs": "parameters, with name, parameterType and feasibleSpace",
    "requestcount": "maxTrialCount",
    "studyname": "metadata.name",
    "suggestionspec": "algorithm, with algorithmName and algorithmSettings",
    "workerspec": "trialTemplate, with trialSpec and trialParameters",
}
_PARAMETER: Mapping[str, str] = {
    "feasible": "feasibleSpace",
    "parametertype": "parameterType",
}
_TEMPLATE: Mapping[str, str] = {
    "gotemplate": (
        "trialSpec with the manifest itself, ${trialParameters.NAME} where a value goes in, and "
        "an entry of trialParameters with its name and reference for each; the name and the "
        "namespace of the job are left out"
    ),
    "templatespec": "configMap, with configMapName, configMapNamespace and templatePath",
}
_COLLECTOR: Mapping[str, str] = {
    "gotemplate": "collector.kind, as StdOut: no cron job collects metrics any more"
}


def legacy_faults(document: Mapping[str, Any]) -> tuple[Fault, ...]:
    """Returns the faults of a file for an older Katib, or none."""
    return tuple(_faults(document))


def _faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    version, kind = document.get("apiVersion"), document.get("kind")
    if isinstance(version, str) and version in _VERSIONS:
        yield Fault("apiVersion", found(version), f"{_TODAY}, whose fields have other names")
    if kind == "StudyJob":
        yield Fault("kind", found(kind), f"Experiment, of {_TODAY}")
    spec = document.get("spec")
    if not isinstance(spec, Mapping):
        return
    yield from _renamed(spec, "spec", _SPEC)
    parameters = spec.get("parameters")
    for index, parameter in enumerate(parameters if isinstance(parameters, list) else ()):
        yield from _renamed(parameter, f"spec.parameters[{index}]", _PARAMETER)
    yield from _renamed(spec.get("trialTemplate"), "spec.trialTemplate", _TEMPLATE)
    yield from _renamed(spec.get("metricsCollectorSpec"), "spec.metricsCollectorSpec", _COLLECTOR)


def _renamed(value: object, path: str, names: Mapping[str, str]) -> Iterator[Fault]:
    """Yields a fault for each key of an old version, in any spelling, that is no key of today."""
    for key in value if isinstance(value, Mapping) else ():
        now = names.get(str(key).lower())
        if now is not None and now != key:
            yield Fault(f"{path}.{key}", "a key of an older Katib", now)
