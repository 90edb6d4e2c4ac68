"""Registry of the early stopping rules, which end a trial that does worse than earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from katibflow.early_stopping.base import Memory, Rule, Stopping, remembered
from katibflow.early_stopping.medianstop import MEDIANSTOP
from katibflow.early_stopping.pruners import PREFIX, optuna_pruner
from katibflow.errors import Fault, InputError
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import ExperimentSpec
from katibflow.study.history import Trial
from katibflow.study.objectives import is_several

__all__ = [
    "RULES",
    "Memory",
    "Rule",
    "Stopping",
    "faults",
    "memory_for",
    "packages_of",
    "rule_for",
    "stopping_of",
]

RULES: Mapping[str, Stopping] = {
    "medianstop": MEDIANSTOP,
}
"""Katib's name to rule."""

_BY_NAME: Mapping[str, Callable[[str], Stopping | str]] = {
    PREFIX: optuna_pruner,
}
"""Prefix of the name to the function that finds a rule by the rest of the name."""


@cache
def _found(name: str) -> Stopping | str:
    """Returns the rule of a name, or a text with the allowed names."""
    for prefix, find in _BY_NAME.items():
        if name.startswith(prefix):
            return find(name.removeprefix(prefix))
    known = [*RULES, *(f"{prefix}<pruner>" for prefix in _BY_NAME)]
    return RULES.get(name) or ", ".join(known)


def _known(name: str) -> Stopping:
    stopping = _found(name)
    if isinstance(stopping, str):
        raise InputError(f'earlyStopping: found "{name}"; allowed: {stopping}')
    return stopping


def stopping_of(spec: ExperimentSpec) -> Stopping | None:
    """Returns the early stopping of an Experiment without faults, or None if it has none.

    Raises:
        InputError: The rule's name is not known here (any more).
    """
    return _known(spec.early_stopping.algorithm_name) if spec.early_stopping else None


def packages_of(spec: ExperimentSpec) -> tuple[str, ...]:
    """Returns the packages that pip installs where trials are followed.

    Raises:
        InputError: The rule's name is not known here (any more).
    """
    return _known(spec.early_stopping.algorithm_name).packages if spec.early_stopping else ()


def rule_for(spec: ExperimentSpec, trials: Iterable[Trial]) -> Rule | None:
    """Returns the rule for a trial that is about to start, or None if nothing can stop it early.

    Args:
        spec: The experiment's specification, without faults.
        trials: All other trials so far, running ones with their reports included. Optuna's
            pruners read the collection again at each report, so it may change meanwhile.

    Raises:
        InputError: The rule's name is not known here (any more).
    """
    stopping = stopping_of(spec)
    return None if stopping is None else stopping.make(spec, _settings(spec, stopping), trials)


def memory_for(spec: ExperimentSpec, trials: Iterable[Trial]) -> Memory | None:
    """Returns what the rule knows of trials; None if it sees them all again for each new trial.

    Args:
        spec: The experiment's specification, without faults.
        trials: All trials so far.

    Raises:
        InputError: The rule's name is not known here (any more).
    """
    stopping = stopping_of(spec)
    if stopping is None or stopping.remember is None:
        return None
    return remembered(stopping.remember(spec, _settings(spec, stopping)), trials)


def _settings(spec: ExperimentSpec, stopping: Stopping) -> dict[str, Any]:
    given = spec.early_stopping.algorithm_settings if spec.early_stopping else ()
    return {each.name: stopping.settings[each.name].read(each.value) for each in given}


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of earlyStopping and its settings."""
    spec = parts.early_stopping
    if spec is None:
        return
    where = "spec.earlyStopping"
    stopping = _found(spec.algorithm_name)
    if isinstance(stopping, str):
        yield Fault(f"{where}.algorithmName", f'"{spec.algorithm_name}"', stopping)
        return
    if parts.objective is not None and is_several(parts.objective):
        found = f'"{spec.algorithm_name}" with {len(parts.objective.aims)} objectives'
        allowed = "no earlyStopping, since its rules compare one objective; or no goals"
        yield Fault(f"{where}.algorithmName", found, allowed)
    where = f"{where}.algorithmSettings"
    settings: dict[str, Any] = {}
    wrong = False
    for index, setting in enumerate(spec.algorithm_settings):
        rule = stopping.settings.get(setting.name)
        if rule is None:
            known = ", ".join(stopping.settings) or "no setting"
            yield Fault(f"{where}[{index}].name", f'"{setting.name}"', known)
            wrong = True
            continue
        try:
            settings[setting.name] = rule.read(setting.value)
        except ValueError:
            yield Fault(f"{where}[{index}].value", f'"{setting.value}"', rule.allowed)
            wrong = True
    given = {setting.name for setting in spec.algorithm_settings}
    for name in stopping.required:
        if name not in given:
            wrong = True
            yield Fault(where, f"no {name}", f"a setting {name}: {stopping.settings[name].allowed}")
    if not wrong:
        for words in stopping.check(settings):
            found = ", ".join(f"{name}={value}" for name, value in settings.items())
            yield Fault(where, found, words)
