"""Reads an Experiment from a file, YAML text or a mapping, with its trial template.

The checks themselves are in `validation.rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from katibflow.errors import InputError
from katibflow.experiment.config_map import ReadConfigMap, source_of, with_template
from katibflow.experiment.manifests import experiment_in
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
    """Reads and checks the Experiment of a file.

    Args:
        file: The YAML file.
        name: Replaces ``metadata.name``; None leaves the name as it is.
        read: Reads the ConfigMap, if the Experiment has its template there; None reads none.
        needs_template: Whether a template that was not read is a fault; True by default.

    Raises:
        InputError: A file cannot be read, or the Experiment has faults.
        RunnerError: The ConfigMap cannot be read from the cluster.
    """
    document = read_plain(file, name, read)
    return check_document(document, str(file), needs_template=needs_template)


def read_plain(
    file: Path, name: str | None = None, read: ReadConfigMap | None = None
) -> dict[str, Any]:
    """Reads the Experiment of a file as plain data, with its template, and checks nothing.

    Args:
        file: The YAML file.
        name: Replaces ``metadata.name``; None leaves the name as it is.
        read: Reads the ConfigMap, if the Experiment has its template there; None reads none.

    Raises:
        InputError: A file cannot be read.
        RunnerError: The ConfigMap cannot be read from the cluster.
    """
    document = experiment_in(read_file(file), str(file))
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
    """Returns the checked Experiment from any form in which Python code may give one.

    Args:
        source: A file's path, YAML text (with a line break in it), a mapping, or an `Experiment`.
        config_map: The ConfigMap with the template, as a path, YAML text or a mapping; None if the
            Experiment itself has the template.

    Raises:
        InputError: An argument is none of these, cannot be read, or has faults.
    """
    if isinstance(source, Experiment):
        return source
    document, origin = _given(source, "the experiment", experiment_in)
    if config_map is not None:
        document = with_template(document, *_given(config_map, "the ConfigMap", read_document))
    return check_document(document, origin)


def _given(
    source: object, what: str, read: Callable[[str, str], Mapping[str, Any]]
) -> tuple[Mapping[str, Any], str]:
    """Returns a document that is given in any form, and the name of its origin."""
    if isinstance(source, Mapping):
        return source, what
    if isinstance(source, str) and "\n" in source:
        return read(source, what), what
    if isinstance(source, str | PathLike):
        path = Path(source)
        return read(read_file(path), str(path)), str(path)
    raise InputError(
        f"{what}: found {found(source)}; allowed: a file's path, YAML text or a mapping"
    )


def map_in_file(path: Path | None) -> ReadConfigMap | None:
    """Returns a function that reads the ConfigMap from a file, or None if there is no file."""
    if path is None:
        return None
    return lambda source: (read_document(read_file(path), str(path)), str(path))
