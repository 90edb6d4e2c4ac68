"""Puts a trial's assignments into the trialSpec, and finds the faults of its references.

The kind of the job and its pods are in `experiment.job_kinds`.

Source: Katib's ``pkg/controller.v1beta1/experiment/manifest/generator.go`` and the trial template
rules of ``pkg/webhook/v1beta1/experiment/validator/validator.go``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from katibflow.errors import Fault, InputError
from katibflow.experiment.architecture import ASSIGNED
from katibflow.experiment.parsing import Parts
from katibflow.experiment.spelling import did_you_mean
from katibflow.experiment.types import TrialTemplate
from katibflow.experiment.yaml_reader import mapping, some_of

__all__ = ["faults", "render", "source_faults"]

_REFERENCE = re.compile(r"\$\{(trialParameters|trialSpec)\.([^}]*)\}")
_UNMARKED = re.compile(r"(?<!\$)\{trialParameters\.[^}]+\}")
_META = re.compile(r"\$\{trialSpec\.([^}]*)\}")
_META_KEYS = "Name, Namespace, Kind, APIVersion, Annotations[key], Labels[key]"
_INDEXED = re.compile(r"(Annotations|Labels)\[(.+)\]")
_WHOLE_NUMBERS = frozenset(
    {
        "activeDeadlineSeconds",
        "backoffLimit",
        "completions",
        "maxReplicas",
        "maxRestarts",
        "minReplicas",
        "numNodes",
        "parallelism",
        "replicas",
        "slotsPerWorker",
        "terminationGracePeriodSeconds",
        "ttlSecondsAfterFinished",
    }
)
"""Keys for which Kubernetes accepts whole numbers only, and never a text."""
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_TEXT_MAPPINGS = frozenset({"annotations", "labels", "matchLabels", "nodeSelector"})


def render(
    template: TrialTemplate, assignments: Mapping[str, str], *, name: str, namespace: str
) -> dict[str, Any]:
    """Returns the trialSpec with every reference replaced, also in keys and within longer strings.

    A value that replaces a reference stays text, but a count (``replicas:
    ${trialParameters.workers}``) becomes a number. References in such a value stay as they are.

    Args:
        template: The trialTemplate; its trialSpec is not changed.
        assignments: Parameter name to value, as Katib's strings. If a trialParameter's parameter is
            missing here, its default replaces the reference.
        name: The name of the trial's job, which replaces ``${trialSpec.Name}``.
        namespace: The namespace that replaces ``${trialSpec.Namespace}``.

    Raises:
        InputError: A reference resolves to nothing, or two keys become the same.
    """
    spec = template.trial_spec or {}
    values: dict[str, str] = {}
    for parameter in template.trial_parameters:
        meta = _META.fullmatch(parameter.reference)
        if meta:
            values[parameter.name] = _meta_value(meta[1], spec, name, namespace)
        elif parameter.reference in assignments:
            values[parameter.name] = assignments[parameter.reference]
        elif parameter.default is not None:
            values[parameter.name] = parameter.default

    def resolve(match: re.Match[str]) -> str:
        root, key = match[1], match[2]
        if root == "trialSpec":
            return _meta_value(key, spec, name, namespace)
        if key not in values:
            raise InputError(
                f"{match[0]} resolves to nothing; allowed: {_listed(values, 'trialParameters.')}"
            )
        return values[key]

    rendered = _rendered(spec, lambda text: _replaced(text, resolve))
    assert isinstance(rendered, dict)
    return rendered


def _found(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Yields the references in a text.

    Nothing is searched behind the last brace: there each reference that nothing closes would cost
    a look at the whole rest of the text.
    """
    return pattern.finditer(text, 0, text.rfind("}") + 1)


def _replaced(text: str, resolve: Callable[[re.Match[str]], str]) -> str:
    if "${" not in text:
        return text
    end = text.rfind("}") + 1
    return _REFERENCE.sub(resolve, text[:end]) + text[end:]


def _rendered(value: Any, change: Callable[[str], str], key: str = "", within: str = "") -> Any:
    """Returns the value with its strings changed.

    Args:
        value: Any part of the trialSpec.
        change: Returns the text that replaces a string.
        key: The key of the value.
        within: The key of the mapping that holds the value.
    """
    if isinstance(value, str):
        text = change(value)
        is_count = key in _WHOLE_NUMBERS and within not in _TEXT_MAPPINGS
        if is_count and _REFERENCE.fullmatch(value) and _INTEGER.fullmatch(text):
            return int(text)
        return text
    if isinstance(value, Mapping):
        changed: dict[str, Any] = {}
        for inner, item in value.items():
            name = change(str(inner))
            if name in changed:
                raise InputError(f"{inner} becomes {name!r}, a key that stands beside it already")
            changed[name] = _rendered(item, change, name, key)
        return changed
    if isinstance(value, list | tuple):
        return [_rendered(item, change) for item in value]
    return value


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{path}.{key}", str(key)
            yield from _strings(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]")


def _meta_value(key: str, spec: Mapping[str, Any], name: str, namespace: str) -> str:
    simple: dict[str, Any] = {
        "Name": name,
        "Namespace": namespace,
        "Kind": spec.get("kind"),
        "APIVersion": spec.get("apiVersion"),
    }
    indexed = _INDEXED.fullmatch(key)
    value = simple.get(key)
    if indexed:
        value = mapping(mapping(spec.get("metadata")).get(indexed[1].lower())).get(indexed[2])
    is_scalar = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not is_scalar or next(_found(_REFERENCE, str(value)), None):
        raise InputError(f"${{trialSpec.{key}}} resolves to nothing; allowed: {_META_KEYS}")
    return str(value)


def _listed(names: Mapping[str, object] | set[str], prefix: str) -> str:
    return some_of([f"${{{prefix}{name}}}" for name in sorted(names)]) or "none is defined"


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the template's references.

    Katib's rules: exactly one trialParameter refers to each search parameter, the trialSpec uses
    each trialParameter, and each reference in the trialSpec is defined.
    """
    template = parts.trial_template
    if template is None:
        return
    where = "spec.trialTemplate"
    if template.trial_spec is not None:
        if template.config_map is not None:
            yield Fault(f"{where}.configMap", "it next to trialSpec", "one or the other")
        yield from _reference_faults(template, f"{where}.trialSpec")
    elif template.config_map is None:
        yield Fault(f"{where}.trialSpec", "", "a Kubernetes object, as a PyTorchJob or a Job")
    yield from _parameter_faults(parts, template, where)


def source_faults(parts: Parts) -> Iterator[Fault]:
    """Yields a fault if the Experiment only names the ConfigMap that holds its template."""
    template = parts.trial_template
    if template is None or template.config_map is None or template.trial_spec is not None:
        return
    name, namespace = template.config_map.config_map_name, template.config_map.config_map_namespace
    yield Fault(
        "spec.trialTemplate.configMap",
        f"ConfigMap {name} of namespace {namespace}, which is not at hand",
        f"--config-map FILE, with what `kubectl get configmap {name} -n {namespace} -o yaml` "
        "prints; or trialSpec",
    )


def _parameter_faults(parts: Parts, template: TrialTemplate, where: str) -> Iterator[Fault]:
    known = _assignable(parts)
    conditional = {entry.name for _, entry in parts.parameters if entry.when is not None}
    text = "\n".join(text for _, text in _strings(template.trial_spec, ""))
    has_spec = template.trial_spec is not None
    names: set[str] = set()
    references: set[str] = set()
    for index, parameter in enumerate(template.trial_parameters):
        path = f"{where}.trialParameters[{index}]"
        if parameter.name in names:
            yield Fault(f"{path}.name", f'"{parameter.name}" again', "a name used once")
        names.add(parameter.name)
        if parameter.reference in references:
            yield Fault(
                f"{path}.reference", f'"{parameter.reference}" again', "each reference once"
            )
        references.add(parameter.reference)
        if {"{", "}"} & {*parameter.name}:
            yield Fault(f"{path}.name", f'"{parameter.name}"', "a name without { and }")
            continue
        if has_spec and f"${{trialParameters.{parameter.name}}}" not in text:
            yield Fault(
                f"{path}.name",
                f'"{parameter.name}", which trialSpec does not use',
                f"${{trialParameters.{parameter.name}}} somewhere in trialSpec",
            )
        yield from _target_faults(parameter.reference, f"{path}.reference", known, parts, template)
        if parameter.reference in conditional and parameter.default is None:
            allowed = f"the text to use in trials in which {parameter.reference} is not active"
            yield Fault(f"{path}.default", "", allowed)
        elif parameter.default is not None and parameter.reference in known - conditional:
            allowed = f"no default, since {parameter.reference} has no when and is always active"
            yield Fault(f"{path}.default", f'"{parameter.default}"', allowed)
        elif parameter.default is not None and _META.fullmatch(parameter.reference):
            yield Fault(f"{path}.default", f'"{parameter.default}"', "no default")
    if parts.complete:
        for index, searched in parts.parameters:
            if searched.name not in references:
                yield Fault(
                    f"spec.parameters[{index}].name",
                    f'"{searched.name}", which no trialParameter refers to',
                    "a parameter that one of trialParameters has as its reference",
                )


def _assignable(parts: Parts) -> set[str]:
    """Returns the names of the values that a trial may be given."""
    if parts.searches_architecture and parts.algorithm is not None:
        return {*ASSIGNED.get(parts.algorithm.algorithm_name, ())}
    return {parameter.name for _, parameter in parts.parameters}


def _target_faults(
    reference: str, path: str, known: set[str], parts: Parts, template: TrialTemplate
) -> Iterator[Fault]:
    meta = _META.fullmatch(reference)
    if meta:
        if template.trial_spec is not None:
            yield from _meta_faults(meta[1], path, template)
    elif parts.searches_architecture and not known:
        return  # what the algorithm gives is not known, which is a fault of its own
    elif parts.complete and reference not in known:
        hint = did_you_mean(reference, known)
        yield Fault(path, f'"{reference}"{hint}', f"a parameter's name: {some_of(sorted(known))}")


def _meta_faults(key: str, path: str, template: TrialTemplate) -> Iterator[Fault]:
    try:
        _meta_value(key, template.trial_spec or {}, "name", "namespace")
    except InputError:
        yield Fault(path, f"${{trialSpec.{key}}}, which resolves to nothing", _META_KEYS)


def _reference_faults(template: TrialTemplate, where: str) -> Iterator[Fault]:
    names = {parameter.name for parameter in template.trial_parameters}
    reported: set[str] = set()
    for path, text in _strings(template.trial_spec, where):
        for match in _found(_UNMARKED, text):
            yield Fault(path, f"{match[0]} without a $", f"${match[0]}")
        for match in _found(_REFERENCE, text):
            if match[0] in reported:
                continue
            if match[1] == "trialSpec":
                problems = list(_meta_faults(match[2], path, template))
                reported.update([match[0]] if problems else [])
                yield from problems
            elif match[2] not in names:
                reported.add(match[0])
                yield Fault(
                    path,
                    f"{match[0]}, which resolves to nothing",
                    _listed(names, "trialParameters."),
                )
