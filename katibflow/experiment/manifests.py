"""Finds the Experiment in a file that holds other objects, too, and gives it a name if it has none.

As `kubectl apply -f` takes them, a file may hold several YAML documents, and a document may be a
``List``. One of the objects must be an Experiment; its template may be in a ConfigMap beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from katibflow.errors import InputError
from katibflow.experiment.config_map import source_of, with_template
from katibflow.experiment.yaml_reader import mapping, read_documents

__all__ = ["experiment_in", "named"]

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_LONGEST_NAME = 40


def experiment_in(text: str, source: str) -> dict[str, Any]:
    """Returns the Experiment of a YAML text as plain data.

    If its template is in a ConfigMap of the same text, that one is put in.

    Args:
        text: The YAML.
        source: The name of the text's origin in errors.

    Raises:
        InputError: The text is no YAML, or has several objects that are not one Experiment and
            ConfigMaps or others.
    """
    documents = read_documents(text, source)
    if len(documents) == 1:
        return documents[0]
    experiments = [each for each in documents if each.get("kind") == "Experiment"]
    if len(experiments) != 1:
        raise InputError(
            f"{source}: found {len(documents)} documents, {len(experiments)} of them Experiments; "
            "allowed: one Experiment, with or without other objects beside it"
        )
    (experiment,) = experiments
    wanted = source_of(experiment)
    for each in documents if wanted is not None else ():
        names = mapping(each.get("metadata"))
        if (
            wanted is not None
            and each.get("kind") == "ConfigMap"
            and names.get("name") == wanted.name
            and names.get("namespace", wanted.namespace) == wanted.namespace
        ):
            return with_template(experiment, each, source)
    return experiment


def named(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the Experiment with a name, if it has ``metadata.generateName`` and no name.

    The name ends in letters that are made from what is searched and for what: the parameters, and
    the objective without its goal. So, unlike in a cluster, the same search has the same name: an
    interrupted run goes on, more trials are added to it, and a template, an algorithm or a goal
    that has changed is told as for any other name.
    """
    metadata = mapping(document.get("metadata"))
    prefix = metadata.get("generateName")
    if metadata.get("name") not in (None, "") or not isinstance(prefix, str) or not prefix:
        return document
    spec = mapping(document.get("spec"))
    objective = {key: item for key, item in mapping(spec.get("objective")).items() if key != "goal"}
    text = json.dumps([prefix, spec.get("parameters"), objective], sort_keys=True, default=str)
    digest = hashlib.sha256(text.encode(errors="replace")).digest()
    suffix = "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:_SUFFIX])
    name = prefix[: _LONGEST_NAME - _SUFFIX] + suffix
    return {**document, "metadata": {**metadata, "name": name}}
