"""Turns plain data into the models of an Experiment, and finds the faults of single fields.

Rules that compare fields are not here: each is with its concept, and `validation.rules` lists them.
`Parts` holds the fields that could be read, so that rules can check a file with other faults, too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from katibflow.errors import Fault, InvalidExperiment
from katibflow.experiment.spelling import did_you_mean
from katibflow.experiment.types import (
    Algorithm,
    Count,
    EarlyStopping,
    Experiment,
    Metadata,
    MetricsCollectorSpec,
    NasConfig,
    Objective,
    Parameter,
    TrialTemplate,
)
from katibflow.experiment.yaml_reader import found, in_file_order

__all__ = ["Parts", "Rule", "checked", "parse"]


@dataclass(frozen=True)
class Parts:
    """The parts of an Experiment that could be read; a part that could not is None.

    Attributes:
        parameters: Each readable parameter with its index in the file's list.
        complete: Whether ``parameters`` holds all parameters of the file.
        searches_architecture: Whether the file has a ``nasConfig``, readable or not.
    """

    metadata: Metadata | None
    objective: Objective | None
    algorithm: Algorithm | None
    early_stopping: EarlyStopping | None
    parameters: tuple[tuple[int, Parameter], ...]
    complete: bool
    metrics_collector: MetricsCollectorSpec | None
    trial_template: TrialTemplate | None
    parallel_trial_count: int | None
    max_trial_count: int | None
    max_failed_trial_count: int | None
    nas_config: NasConfig | None = None
    searches_architecture: bool = False


def parse(document: Mapping[str, Any]) -> tuple[Experiment | None, Parts, tuple[Fault, ...]]:
    """Reads a document into models.

    Returns:
        The Experiment (None if a field is wrong), the parts that could be read, and the faults of
        single fields: unknown keys, absent keys, wrong types.
    """
    try:
        experiment = Experiment.model_validate(document)
    except ValidationError as error:
        return None, _parts(document), tuple(_faults(error, document))
    return experiment, _parts(document), ()


Rule = Callable[[Parts], Iterator[Fault]]
"""A rule that compares fields: yields the faults of the parts that could be read."""


def checked(document: Mapping[str, Any], source: str, rules: Iterable[Rule]) -> Experiment:
    """Reads a document into models, checks rules, and finds all faults at once.

    Args:
        document: The Experiment in the YAML's names.
        source: The name of the document's origin in errors.
        rules: The rules to check besides the fields' types.

    Raises:
        InvalidExperiment: The Experiment has faults; the error lists all in the document's order.
    """
    experiment, parts, found = parse(document)
    paths = {fault.path for fault in found}
    broken = (fault for rule in rules for fault in rule(parts))
    faults = [*found, *(fault for fault in broken if fault.path not in paths)]
    if faults or experiment is None:
        raise InvalidExperiment(source, in_file_order(faults, document))
    return experiment


def _parts(document: Mapping[str, Any]) -> Parts:
    raw = document.get("spec")
    spec: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
    raw_parameters = spec.get("parameters")
    items = raw_parameters if isinstance(raw_parameters, list) else []
    parameters = tuple(
        (index, parameter)
        for index, item in enumerate(items)
        if (parameter := _read(Parameter, item)) is not None
        # A parameter that lost its faulty condition would be another parameter.
        and (parameter.when is None) == (item.get("when") is None)
    )
    collector = spec.get("metricsCollectorSpec")
    return Parts(
        metadata=_read(Metadata, document.get("metadata")),
        objective=_read(Objective, spec.get("objective")),
        algorithm=_read(Algorithm, spec.get("algorithm")),
        early_stopping=_read(EarlyStopping, spec.get("earlyStopping")),
        parameters=parameters,
        complete=isinstance(raw_parameters, list | None) and len(parameters) == len(items),
        metrics_collector=_read(MetricsCollectorSpec, {} if collector is None else collector),
        trial_template=_read(TrialTemplate, spec.get("trialTemplate")),
        parallel_trial_count=_read(Count, spec.get("parallelTrialCount")),
        max_trial_count=_read(Count, spec.get("maxTrialCount")),
        max_failed_trial_count=_read(Count, spec.get("maxFailedTrialCount")),
        nas_config=_read(NasConfig, spec.get("nasConfig")),
        searches_architecture=spec.get("nasConfig") is not None,
    )


def _read(kind: Any, value: object) -> Any:
    """Returns the value as a model, without unknown and wrong keys, or None if none is left.

    Each key that is left out has a fault of its own; the rules can still check the rest.
    """
    adapter = _adapter(kind)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        rest = copy.deepcopy(value)
        for entry in error.errors(include_url=False):
            location = _without_union_tags(entry["loc"], rest)
            in_list = any(isinstance(step, int) for step in location)
            if in_list and entry["type"] != "extra_forbidden":
                return None
            _remove(rest, location)
    try:
        return adapter.validate_python(rest)
    except ValidationError:
        return None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _remove(value: Any, location: Sequence[int | str]) -> None:
    for step in location[:-1]:
        value = value[step]
    if location and isinstance(value, dict):
        value.pop(location[-1], None)


def _faults(error: ValidationError, document: Mapping[str, Any]) -> Iterator[Fault]:
    unknown = 0
    for entry in error.errors(include_url=False):
        location = _without_union_tags(entry["loc"], document)
        path = _path(location)
        kind = entry["type"]
        context = entry.get("ctx", {})
        if kind == "missing":
            allowed = _meaning_of(location)
            yield Fault(path, "", allowed)
        elif kind == "extra_forbidden":
            known = _known_keys(location[:-1])
            unknown += 1
            # What is all unknown is no slip of the pen, and comparing words takes long.
            hint = did_you_mean(str(location[-1]), known) if unknown <= _MOST_HINTS else ""
            yield Fault(path, f"an unknown key{hint}", ", ".join(known))
        elif kind in ("enum", "literal_error"):
            yield Fault(path, found(entry["input"]), str(context["expected"]).replace("'", ""))
        elif kind == "value_error":
            yield Fault(path, found(entry["input"]), str(context["error"]))
        else:
            yield Fault(path, found(entry["input"]), _TYPES.get(kind, entry["msg"]))


_MOST_HINTS = 50

_TYPES: Mapping[str, str] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_too_short": "a text that is not empty",
    "string_type": "a string",
    "tuple_type": "a list",
}


def _without_union_tags(location: Sequence[int | str], document: object) -> tuple[int | str, ...]:
    """Removes the steps from a location that pydantic adds and the file does not have."""
    path: list[int | str] = []
    value: Any = document
    for step in location:
        if isinstance(value, list | tuple) and not isinstance(step, int):
            continue
        path.append(step)
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            value = None
    return tuple(path)


def _path(location: Sequence[int | str]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _field_type(location: Sequence[int | str]) -> Any:
    """Returns the annotation at a location below the Experiment, or None if no model has it."""
    kind: Any = Experiment
    for step in location:
        if isinstance(step, int):
            kind = next(iter(get_args(kind)), None)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            names = {field.alias or name: field for name, field in kind.model_fields.items()}
            kind = names[step].annotation if step in names else None
        else:
            return None
        if get_origin(kind) in (Union, UnionType):
            kind = next(arg for arg in get_args(kind) if arg is not type(None))
    return kind


def _known_keys(location: Sequence[int | str]) -> list[str]:
    kind = _field_type(location)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return []
    return [field.alias or name for name, field in kind.model_fields.items()]


def _meaning_of(location: Sequence[int | str]) -> str:
    kind = _field_type(location)
    keys = _known_keys(location)
    if keys:
        return f"a mapping with {', '.join(keys)}"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ", ".join(kind)
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    return {float: "a number", int: "a whole number", bool: "true or false"}.get(kind, "a string")
