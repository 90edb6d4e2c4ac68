"""The rules for a trial's job: its kind, its conditions, its pods."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from katibflow.errors import Fault
from katibflow.experiment.gjson_path import path_of
from katibflow.experiment.job_kinds import (
    JobKind,
    PodTemplate,
    condition,
    is_reference,
    kind_of,
    pod_templates,
)
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import TrialTemplate
from katibflow.experiment.yaml_reader import found, mapping

__all__ = ["faults"]


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the job in trialTemplate.

    Source: validateTrialTemplate and validateTrialJob in Katib's validator.go.
    """
    template = parts.trial_template
    if template is None:
        return
    where = "spec.trialTemplate"
    if not template.primary_container_name:
        yield Fault(f"{where}.primaryContainerName", "", "the name of the training container")
    yield from _gjson_faults(template, where)
    if template.trial_spec is None:
        return
    spec = template.trial_spec
    unnamed = [key for key, form in _FORMS.items() if not _is_word(spec.get(key), form)]
    for key in unnamed:
        given = found(spec[key]) if spec.get(key) is not None else ""
        yield Fault(f"{where}.trialSpec.{key}", given, f'a string, as "{_EXAMPLES[key]}"')
    metadata = mapping(spec.get("metadata"))
    if spec.get("metadata") is not None and not isinstance(spec["metadata"], Mapping):
        yield Fault(f"{where}.trialSpec.metadata", found(spec["metadata"]), "a mapping")
    for key in ("name", "namespace"):
        if metadata.get(key) not in (None, ""):
            yield Fault(
                f"{where}.trialSpec.metadata.{key}",
                found(metadata[key]),
                "nothing: every trial gets its own name, in the experiment's namespace",
            )
    if unnamed:
        return
    yield from _kind_faults(template, where)
    yield from _pod_faults(template, f"{where}.trialSpec")


_EXAMPLES = {"apiVersion": "batch/v1", "kind": "Job"}


# A kind and its version become part of names, of paths of the API and of compiled files.
_FORMS = {
    "apiVersion": re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[a-z0-9]{1,63}"),
    "kind": re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}"),
}


def _is_word(value: object, form: re.Pattern[str]) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _gjson_faults(template: TrialTemplate, where: str) -> Iterator[Fault]:
    """Yields the faults of conditions as expressions, whatever the kind."""
    for key, text in (
        ("successCondition", template.success_condition),
        ("failureCondition", template.failure_condition),
    ):
        try:
            if text:
                path_of(text)
        except ValueError as error:
            allowed = f"a GJSON expression over the job, as {condition('Succeeded')}"
            yield Fault(f"{where}.{key}", f"{found(text)}, {error}", allowed)


def _kind_faults(template: TrialTemplate, where: str) -> Iterator[Fault]:
    spec = template.trial_spec or {}
    kind = kind_of(spec)
    for key, given, default, word in (
        ("successCondition", template.success_condition, kind.success_condition, "Succeeded"),
        ("failureCondition", template.failure_condition, kind.failure_condition, "Failed"),
    ):
        if not given and default is None:
            yield Fault(
                f"{where}.{key}",
                "",
                f"a GJSON condition, as {kind.kind} has no default ({condition(word)})",
            )
    if not template.primary_pod_labels and kind.primary_pod_labels is None:
        yield Fault(
            f"{where}.primaryPodLabels", "", f"labels of a pod, as {kind.kind} has no default"
        )


def _pod_faults(template: TrialTemplate, where: str) -> Iterator[Fault]:
    spec = template.trial_spec or {}
    kind = kind_of(spec)
    if not (kind.replica_specs or kind.pod_template):
        return
    pods = pod_templates(spec)
    if not pods:
        missing = kind.replica_specs or ".".join(kind.pod_template)
        yield Fault(f"{where}.spec.{missing}", "", "a mapping that describes the pods")
        return
    names: set[str] = set()
    for pod in pods:
        if kind.replica_specs:
            yield from _replica_faults(spec, kind, pod, where)
        path = f"{where}.{pod.path}.spec.containers"
        containers = mapping(pod.template.get("spec")).get("containers")
        if not isinstance(containers, list) or not containers:
            given = "" if containers is None else found(containers)
            yield Fault(path, given, "a list with a container")
            continue
        for index, container in enumerate(containers):
            name = mapping(container).get("name")
            if isinstance(name, str) and name:
                names.add(name)
            else:
                given = "" if name is None else found(name)
                yield Fault(f"{path}[{index}].name", given, "a string")
    primary = template.primary_container_name
    if primary and names and primary not in names and not any("${" in name for name in names):
        yield Fault(
            "spec.trialTemplate.primaryContainerName",
            f'"{primary}", which no pod of trialSpec has',
            ", ".join(sorted(names)),
        )


def _replica_faults(
    spec: Mapping[str, Any], kind: JobKind, pod: PodTemplate, where: str
) -> Iterator[Fault]:
    replicas = mapping(mapping(spec.get("spec")).get(kind.replica_specs))
    count = mapping(replicas.get(pod.replica_type)).get("replicas")
    if count is None or is_reference(count):
        return
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        path = f"{where}.spec.{kind.replica_specs}.{pod.replica_type}.replicas"
        yield Fault(path, found(count), "a whole number above 0")
