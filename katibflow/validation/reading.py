"""Reads an Experiment's file, and its trial template from wherever that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from katibflow.errors import InputError
from katibflow.experiment.config_map import ReadConfigMap, source_of, with_template
from katibflow.experiment.types import Experiment
from katibflow.experiment.yaml_reader import found, read_document, read_file
from katibflow.validation.rules import check_document

__all__ = [
    "experiment_of",
    "map_in_file",
    "read_experiment",
    "read_plain",
]


def read_experiment(
    file: Path,
    name: str | None = None,
    read: ReadConfigMap | None = None,
    *,
    needs_template: bool = True,
) -> Experiment:
    """Reads and checks an Experiment.

    Args:
        file: Its YAML.
        name: Replaces ``metadata.name``.
        read: Reads the ConfigMap of an Experiment whose template is kept in one.
        needs_template: Whether it is a fault when that is not read.

    Raises:
        InputError: A file cannot be read, or the Experiment has faults.
        RunnerError: The ConfigMap cannot be read from the cluster.
    """
    document = read_plain(file, name, read)
    return check_document(document, str(file), needs_template=needs_template)


def read_plain(
    file: Path, name: str | None = None, read: ReadConfigMap | None = None
) -> dict[str, Any]:
    """Reads an Experiment as plain data, its template included; the arguments are as above.

    Raises:
        InputError: A file cannot be read.
        RunnerError: The ConfigMap cannot be read from the cluster.
    """
    document = read_document(read_file(file), str(file))
    if name is not None and isinstance(document.get("metadata"), dict):
        document = {**document, "metadata": {**document["metadata"], "name": name}}
    source = source_of(document)
    if source is not None and read is not None:
        document = with_template(document, *read(source))
    return document


def experiment_of(
    source: str | PathLike[str] | Mapping[str, Any] | Experiment,
    config_map: str | PathLike[str] | Mapping[str, Any] | None = None,
) -> Experiment:
    """The checked Experiment that a program gives in one form or another.

    Args:
        source: A file's path, YAML text (with a line break in it), a mapping, or an `Experiment`.
        config_map: The ConfigMap of its template, likewise.

    Raises:
        InputError: It is none of these, cannot be read, or has faults.
    """
    if isinstance(source, Experiment):
        return source
    document, origin = _given(source, "the experiment")
    if config_map is not None:
        document = with_template(document, *_given(config_map, "the ConfigMap"))
    return check_document(document, origin)


def _given(source: object, what: str) -> tuple[Mapping[str, Any], str]:
    """A document in whatever form, and where it comes from."""
    if isinstance(source, Mapping):
        return source, what
    if isinstance(source, str) and "\n" in source:
        return read_document(source, what), what
    if isinstance(source, str | PathLike):
        path = Path(source)
        return read_document(read_file(path), str(path)), str(path)
    raise InputError(
        f"{what}: found {found(source)}; allowed: a file's path, YAML text or a mapping"
    )


def map_in_file(path: Path | None) -> ReadConfigMap | None:
    """Reads the ConfigMap from a file, if there is one."""
    if path is None:
        return None
    return lambda source: (read_document(read_file(path), str(path)), str(path))
