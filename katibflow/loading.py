"""Reads an Experiment file: YAML to models, with every fault of the file in the user's own terms.

Rules that compare fields are not here but with their concept; `validation` gathers them. So that
they can run on a file that has other faults too, `Parts` holds whatever could be read.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from katibflow.errors import Fault, InputError
from katibflow.experiment import (
    Algorithm,
    EarlyStopping,
    Experiment,
    Metadata,
    MetricsCollectorSpec,
    Objective,
    Parameter,
    TrialTemplate,
)

__all__ = ["Parts", "found", "parse", "read_document", "read_file"]

MAX_FILE_BYTES = 2_000_000

Readable = TypeVar("Readable")


@dataclass(frozen=True)
class Parts:
    """What could be read of an Experiment; None (or left out) is what could not.

    Attributes:
        parameters: Each readable parameter with its index in the file's list.
        complete: Whether ``parameters`` holds all of the file's.
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
    nas_config: object


class _UniqueKeyLoader(yaml.CSafeLoader):
    """Safe YAML in which a key may stand once only; PyYAML would keep the last without a word."""


def _mapping_of_unique_keys(loader: Any, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if key is None or key_node.tag == "tag:yaml.org,2002:merge":
            continue
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"found the key {key!r} twice", key_node.start_mark
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


def _text(loader: Any, node: yaml.Node) -> str:
    return str(loader.construct_scalar(node))


_UniqueKeyLoader.add_constructor("tag:yaml.org,2002:map", _mapping_of_unique_keys)
# Kubernetes knows no dates: an unquoted 2024-01-01 is text there.
_UniqueKeyLoader.add_constructor("tag:yaml.org,2002:timestamp", _text)


def read_file(path: Path) -> str:
    """The text of a user's file.

    Raises:
        InputError: It is absent, a folder, unreadable, not UTF-8 or above 2 MB.
    """
    try:
        if not path.is_file():
            what = "a folder" if path.is_dir() else "no such file"
            raise InputError(f"{path}: {what}; allowed: an Experiment's YAML file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(
                f"{path}: found {path.stat().st_size} bytes; allowed: at most {MAX_FILE_BYTES}"
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error}; allowed: an Experiment's YAML") from (
            error
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_document(text: str, source: str) -> dict[str, Any]:
    """The one mapping in a YAML text.

    Raises:
        InputError: No YAML, a key twice in one mapping, several documents, or no mapping.
    """
    try:
        documents = [doc for doc in yaml.load_all(text, Loader=_UniqueKeyLoader) if doc is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(f"{source}{where}: not YAML: {error.problem or error}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{source}: not YAML: {error}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        what = f"{len(documents)} documents" if len(documents) != 1 else found(documents[0])
        raise InputError(f"{source}: found {what}; allowed: one Experiment (a YAML mapping)")
    return documents[0]


def found(value: object) -> str:
    """A short text for a value out of a user's file: its JSON-like form, cut at 60 characters."""
    if isinstance(value, Mapping):
        return (
            f"a mapping with the keys {', '.join(map(str, list(value)[:5]))}"
            if value
            else ("an empty mapping")
        )
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if value is None:
        return "nothing (null)"
    text = (
        f'"{value}"'
        if isinstance(value, str)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    return text if len(text) <= 60 else text[:57] + "..."


def parse(document: Mapping[str, Any]) -> tuple[Experiment | None, Parts, tuple[Fault, ...]]:
    """Reads a document into models.

    Returns:
        The Experiment (None if a field is wrong), what could be read of it, and the faults of
        single fields: unknown keys, absent keys, wrong types.
    """
    try:
        experiment = Experiment.model_validate(document)
    except ValidationError as error:
        return None, _parts(document), tuple(_faults(error, document))
    return experiment, _parts(document), ()


def _parts(document: Mapping[str, Any]) -> Parts:
    raw = document.get("spec")
    spec: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
    raw_parameters = spec.get("parameters")
    items = raw_parameters if isinstance(raw_parameters, list) else []
    parameters = tuple(
        (index, parameter)
        for index, item in enumerate(items)
        if (parameter := _read(Parameter, item)) is not None
    )
    collector = spec.get("metricsCollectorSpec")
    return Parts(
        metadata=_read(Metadata, document.get("metadata")),
        objective=_read(Objective, spec.get("objective")),
        algorithm=_read(Algorithm, spec.get("algorithm")),
        early_stopping=_read(EarlyStopping, spec.get("earlyStopping")),
        parameters=parameters,
        complete=isinstance(raw_parameters, list) and len(parameters) == len(items),
        metrics_collector=_read(MetricsCollectorSpec, {} if collector is None else collector),
        trial_template=_read(TrialTemplate, spec.get("trialTemplate")),
        parallel_trial_count=_read(int, spec.get("parallelTrialCount")),
        max_trial_count=_read(int, spec.get("maxTrialCount")),
        max_failed_trial_count=_read(int, spec.get("maxFailedTrialCount")),
        nas_config=spec.get("nasConfig"),
    )


def _read(kind: type[Readable], value: object) -> Readable | None:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return None


def _faults(error: ValidationError, document: Mapping[str, Any]) -> Iterator[Fault]:
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
            yield Fault(
                path, f"an unknown key{_nearest(str(location[-1]), known)}", ", ".join(known)
            )
        elif kind in ("enum", "literal_error"):
            yield Fault(path, found(entry["input"]), str(context["expected"]).replace("'", ""))
        elif kind == "value_error":
            yield Fault(path, found(entry["input"]), str(context["error"]))
        else:
            yield Fault(path, found(entry["input"]), _TYPES.get(kind, entry["msg"]))


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


def _without_union_tags(
    location: Sequence[int | str], document: Mapping[str, Any]
) -> tuple[int | str, ...]:
    """Drops what pydantic adds to a location that is no key or index of the file."""
    kept: list[int | str] = []
    value: Any = document
    for step in location:
        if isinstance(value, list | tuple) and not isinstance(step, int):
            continue
        kept.append(step)
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            value = None
    return tuple(kept)


def _path(location: Sequence[int | str]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _field_type(location: Sequence[int | str]) -> Any:
    """The annotation at a location, walked down from the Experiment; None off the models."""
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


def _nearest(word: str, known: Sequence[str]) -> str:
    matches = difflib.get_close_matches(word.lower(), [key.lower() for key in known], n=1)
    by_lower = {key.lower(): key for key in known}
    return f" (did you mean {by_lower[matches[0]]}?)" if matches else ""
