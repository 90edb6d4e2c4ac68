"""Values of an Experiment that a start of a run may replace, on the command line or in Python.

They go into the Experiment's document, so the run records them, and compares them at its next
start, as if the file had them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from katibflow.errors import Fault, InputError, InvalidExperiment
from katibflow.experiment.job_kinds import kind_of, pod_templates
from katibflow.experiment.types import Experiment

__all__ = ["Overrides", "checked_with_overrides", "parse_env"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_FIELDS: Mapping[str, tuple[str, str]] = {
    "name": ("--name", "metadata.name"),
    "max_trial_count": ("--max-trials", "spec.maxTrialCount"),
    "parallel_trial_count": ("--parallel", "spec.parallelTrialCount"),
    "max_failed_trial_count": ("--max-failed", "spec.maxFailedTrialCount"),
    "goal": ("--goal", "spec.objective.goal"),
    "algorithm_name": ("--algorithm", "spec.algorithm.algorithmName"),
    "seed": ("--seed", "spec.algorithm.algorithmSettings"),
    "env": ("--env", "spec.trialTemplate.trialSpec"),
}
"""Keyword in Python to the option and the field's path."""

_SEEDS = ("random_state", "seed")
"""Settings that are a seed; every algorithm takes the first one."""


@dataclass(frozen=True)
class Overrides:
    """The values that replace an Experiment's; None leaves the Experiment's."""

    name: str | None = None
    max_trial_count: int | None = None
    parallel_trial_count: int | None = None
    max_failed_trial_count: int | None = None
    goal: float | None = None
    algorithm_name: str | None = None
    seed: int | None = None
    env: Mapping[str, str] = field(default_factory=dict)


def parse_env(texts: list[str]) -> dict[str, str]:
    """Reads values of the option ``--env``, each ``NAME=VALUE``.

    Raises:
        InputError: One is none.
    """
    env: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not _NAME.fullmatch(name):
            raise InputError(
                f'--env: found "{text}"; allowed: NAME=VALUE, a name of letters, digits and _, '
                "first no digit"
            )
        env[name] = value
    return env


def checked_with_overrides(
    document: Mapping[str, Any],
    given: Overrides,
    source: str,
    check: Callable[[Mapping[str, Any], str], Experiment],
    *,
    in_python: bool = False,
) -> Experiment:
    """Returns the checked Experiment with the given values in it.

    Args:
        document: The Experiment in the YAML's names.
        given: The values.
        source: The name of the document's origin in errors.
        check: Returns the Experiment of a document, given its origin's name.
        in_python: Whether errors name Python's keywords rather than the options.

    Raises:
        InvalidExperiment: The Experiment has faults; one of a given value names its option.
        InputError: The trials' kind has no containers that could get variables.
    """
    names = {
        path: keyword if in_python else option
        for keyword, (option, path) in _FIELDS.items()
        if getattr(given, keyword) not in (None, {})
    }
    if not names:
        return check(document, source)
    try:
        return check(_overridden(document, given, names), source)
    except InvalidExperiment as error:
        raise InvalidExperiment(source, (_named(fault, names) for fault in error.faults)) from None


def _named(fault: Fault, names: Mapping[str, str]) -> Fault:
    for path, name in names.items():
        is_within = fault.path == path or fault.path.startswith(f"{path}[")
        if is_within and not path.endswith("trialSpec"):
            return replace(fault, path=f"{name} ({fault.path})")
    return fault


def _overridden(
    document: Mapping[str, Any], given: Overrides, names: Mapping[str, str]
) -> Mapping[str, Any]:
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    if given.name is not None and isinstance(changed.get("metadata"), dict):
        changed["metadata"]["name"] = given.name
    spec = changed.get("spec")
    if not isinstance(spec, dict):
        return changed
    _put_counts(spec, given)
    objective, algorithm = spec.get("objective"), spec.get("algorithm")
    if given.goal is not None and isinstance(objective, dict):
        objective["goal"] = given.goal
    if isinstance(algorithm, dict):
        if given.algorithm_name is not None:
            if algorithm.get("algorithmName") != given.algorithm_name:
                # The settings are another algorithm's.
                algorithm.pop("algorithmSettings", None)
            algorithm["algorithmName"] = given.algorithm_name
        if given.seed is not None:
            _put_seed(algorithm, given.seed)
    if given.env:
        _put_env(spec, given.env, names[_FIELDS["env"][1]])
    return changed


def _put_counts(spec: dict[str, Any], given: Overrides) -> None:
    """Sets the counts; those that the file has, and that fewer trials do not allow, shrink too."""
    most = given.max_trial_count
    for key, value in (
        ("maxTrialCount", most),
        ("parallelTrialCount", given.parallel_trial_count),
        ("maxFailedTrialCount", given.max_failed_trial_count),
    ):
        in_file = spec.get(key)
        if value is not None:
            spec[key] = value
        elif most is not None and most > 0 and type(in_file) is int:
            spec[key] = min(in_file, most)


def _put_seed(algorithm: dict[str, Any], seed: int) -> None:
    settings = [
        each
        for each in algorithm.get("algorithmSettings") or ()
        if not (isinstance(each, Mapping) and each.get("name") in _SEEDS)
    ]
    algorithm["algorithmSettings"] = [*settings, {"name": _SEEDS[0], "value": str(seed)}]


def _put_env(spec: Mapping[str, Any], env: Mapping[str, str], name: str) -> None:
    template = spec.get("trialTemplate")
    manifest = template.get("trialSpec") if isinstance(template, Mapping) else None
    if not isinstance(template, Mapping) or not isinstance(manifest, dict):
        return
    primary = template.get("primaryContainerName")
    holders = list(_holders(manifest, primary if isinstance(primary, str) else None))
    if not holders:
        raise InputError(
            f"{name}: found a {manifest.get('kind')}, in which no container is known; allowed: "
            "its variables in the file"
        )
    for holder in holders:
        entries = holder.get("env")
        others = [
            entry
            for entry in (entries if isinstance(entries, list) else ())
            if not (isinstance(entry, Mapping) and entry.get("name") in env)
        ]
        holder["env"] = [*others, *({"name": key, "value": text} for key, text in env.items())]


def _holders(manifest: dict[str, Any], primary: str | None) -> Iterator[dict[str, Any]]:
    """Yields what has the variables of the trial's own processes: containers, or a trainer."""
    kind = kind_of(manifest)
    if kind.env:
        holder: Any = manifest.get("spec")
        for key in kind.env[:-1]:
            holder = holder.setdefault(key, {}) if isinstance(holder, dict) else None
        if isinstance(holder, dict):
            yield holder
    for pod in pod_templates(manifest):
        spec = pod.template.get("spec")
        containers = spec.get("containers") if isinstance(spec, Mapping) else None
        found = [each for each in containers or () if isinstance(each, dict)]
        yield from [each for each in found if each.get("name") == primary] or found
