"""Puts a trialTemplate from a ConfigMap, as Katib's UI makes them, into its Experiment.

This module fetches no ConfigMap: it takes one that somebody has read. Katib replaces references in
the template's text and then reads the YAML. Here the YAML is read first, so a reference has to be
where YAML takes it as text.

Source: GetTrialTemplate in Katib's ``pkg/controller.v1beta1/experiment/manifest/generator.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from katibflow.errors import InputError
from katibflow.experiment.yaml_reader import found, mapping, read_document

__all__ = ["ReadConfigMap", "TemplateSource", "source_of", "with_template"]


@dataclass(frozen=True)
class TemplateSource:
    """The ConfigMap and the key that hold a template.

    Attributes:
        name: The ConfigMap's name.
        namespace: The ConfigMap's namespace.
        key: The key in the ConfigMap's ``data``; ``templatePath`` in the Experiment.
    """

    name: str
    namespace: str
    key: str

    def __str__(self) -> str:
        return f"ConfigMap {self.name} of namespace {self.namespace}"


ReadConfigMap = Callable[[TemplateSource], tuple[Mapping[str, Any], str]]
"""Returns the ConfigMap, and the name of its origin in errors."""


def source_of(document: Mapping[str, Any]) -> TemplateSource | None:
    """Returns the source of an Experiment's template, or None if the file names no ConfigMap.

    Returns None, too, if the file has the template itself.
    """
    template = mapping(mapping(document.get("spec")).get("trialTemplate"))
    source = mapping(template.get("configMap"))
    values = [source.get(key) for key in ("configMapName", "configMapNamespace", "templatePath")]
    words = [value for value in values if isinstance(value, str) and value]
    if template.get("trialSpec") is not None or len(words) < 3:
        return None
    return TemplateSource(*words)


def with_template(
    document: Mapping[str, Any], config_map: Mapping[str, Any], origin: str
) -> dict[str, Any]:
    """Returns the Experiment with the template of its ConfigMap as its ``trialSpec``.

    Args:
        document: The Experiment, with ``trialTemplate.configMap``.
        config_map: The ConfigMap as the API server or kubectl gives it.
        origin: The name of the ConfigMap's origin in errors.

    Raises:
        InputError: The Experiment names another ConfigMap or none, the ConfigMap lacks the key, or
            the key holds no YAML mapping.
    """
    source = source_of(document)
    if source is None:
        raise InputError(f"{origin}: allowed: for an Experiment with trialTemplate.configMap")
    metadata, data = mapping(config_map.get("metadata")), mapping(config_map.get("data"))
    if config_map.get("kind") != "ConfigMap":
        raise InputError(
            f"{origin}: kind: found {found(config_map.get('kind'))}; allowed: {source}, as "
            f"`kubectl get configmap {source.name} -n {source.namespace} -o yaml` prints it"
        )
    for key, wanted in (("name", source.name), ("namespace", source.namespace)):
        given = metadata.get(key, wanted)
        if given != wanted:
            raise InputError(
                f"{origin}: metadata.{key}: found {found(given)}; allowed: {wanted}, as in "
                "spec.trialTemplate.configMap"
            )
    text = data.get(source.key)
    if not isinstance(text, str):
        raise InputError(
            f"{origin}: data: found the keys {', '.join(map(str, data)) or 'none'}; allowed: "
            f"{source.key}, the templatePath of spec.trialTemplate.configMap"
        )
    spec = mapping(document["spec"])
    template = {key: item for key, item in spec["trialTemplate"].items() if key != "configMap"}
    template["trialSpec"] = read_document(text, f"{origin}: data[{source.key}]")
    return {**document, "spec": {**spec, "trialTemplate": template}}
