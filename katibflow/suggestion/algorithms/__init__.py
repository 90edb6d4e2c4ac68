"""Registry of the search algorithms by Katib's names, and the faults of their settings.

Source of the settings: Katib's validation of each suggestion service
(``pkg/suggestion/v1beta1/{hyperopt,optuna,skopt,goptuna,hyperband,pbt,nas}``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from katibflow.errors import Fault, InputError
from katibflow.experiment.parsing import Parts
from katibflow.experiment.spelling import did_you_mean
from katibflow.experiment.types import Algorithm as AlgorithmSpec
from katibflow.experiment.types import Experiment, ExperimentSpec, Setting
from katibflow.extras import missing
from katibflow.study.objectives import is_several
from katibflow.suggestion.algorithms.base import (
    Ability,
    Algorithm,
    SettingRule,
    Settings,
    Suggestion,
)
from katibflow.suggestion.algorithms.cmaes import CMAES
from katibflow.suggestion.algorithms.darts import DARTS
from katibflow.suggestion.algorithms.enas import ENAS
from katibflow.suggestion.algorithms.hyperband import HYPERBAND
from katibflow.suggestion.algorithms.optuna_samplers import (
    HUB_PREFIX,
    PREFIX,
    hub_sampler,
    optuna_sampler,
)
from katibflow.suggestion.algorithms.pbt import PBT
from katibflow.suggestion.algorithms.samplers import BAYESIAN, MULTIVARIATE_TPE, RANDOM, TPE
from katibflow.suggestion.algorithms.sequences import GRID, SOBOL
from katibflow.suggestion.algorithms.settings import RANDOM_STATE
from katibflow.suggestion.enqueued import ENQUEUE, is_asked
from katibflow.suggestion.space.search_space import space_of

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "SettingRule",
    "Settings",
    "Suggestion",
    "able",
    "algorithm_of",
    "check_packages",
    "check_warm_start",
    "chosen_for",
    "count_faults",
    "faults",
    "note_on",
    "notes_on",
    "settings_of",
]

_FEW_TRIALS = 200
"""The most trials that a Gaussian process can be fitted to in a few seconds."""


def _suited(experiment: Experiment) -> Algorithm:
    """Returns the algorithm that ``auto`` chooses.

    It chooses grid if there are enough trials for every combination. It chooses
    bayesianoptimization if torch is installed, the trials are few, and all parameters are ordered
    and always active. Otherwise it chooses multivariate-tpe.
    """
    spec = experiment.spec
    space = space_of(spec.parameters)
    most = spec.max_trial_count
    if space.size is not None and most is not None and space.size <= most:
        return GRID
    # Each objective and each constraint has a Gaussian process of its own.
    processes = len(spec.objective.aims) + len(spec.objective.constraints)
    is_small = most is not None and most * processes <= _FEW_TRIALS
    is_smooth = all(d.ordered for d in space.dimensions) and not space.conditions
    if is_small and is_smooth and find_spec("torch") is not None:
        return BAYESIAN
    return MULTIVARIATE_TPE


ALGORITHMS: Mapping[str, Algorithm] = {
    "auto": Algorithm(
        RANDOM_STATE, sampler=MULTIVARIATE_TPE.sampler, choose=_suited, is_katibs=False
    ),
    "bayesianoptimization": BAYESIAN,
    "cmaes": CMAES,
    "darts": DARTS,
    "enas": ENAS,
    "grid": GRID,
    "hyperband": HYPERBAND,
    "multivariate-tpe": MULTIVARIATE_TPE,
    "pbt": PBT,
    "random": RANDOM,
    "sobol": SOBOL,
    "tpe": TPE,
}
"""Katib's name, or ``auto``, to algorithm."""

_BY_NAME: Mapping[str, Callable[[str], Algorithm | str]] = {
    PREFIX: optuna_sampler,
    HUB_PREFIX: hub_sampler,
}
"""Prefix of the name to the function that finds an algorithm by the rest of the name."""


@cache
def _found(name: str) -> Algorithm | str:
    """Returns the algorithm of a name, or a text with the allowed names."""
    for prefix, find in _BY_NAME.items():
        if name.startswith(prefix):
            return find(name.removeprefix(prefix))
    known = ", ".join([*sorted(ALGORITHMS), *(f"{prefix}<sampler>" for prefix in _BY_NAME)])
    return ALGORITHMS.get(name) or known


def algorithm_of(spec: AlgorithmSpec) -> Algorithm:
    """Returns the algorithm of a specification in which `faults` finds nothing.

    Raises:
        InputError: The name is not known here (any more).
    """
    found = _found(spec.algorithm_name)
    if isinstance(found, str):
        raise InputError(f'algorithm: found "{spec.algorithm_name}"; allowed: {found}')
    return found


def chosen_for(experiment: Experiment) -> Algorithm:
    """Returns the algorithm that searches for an experiment; ``auto`` makes its choice here."""
    algorithm = algorithm_of(experiment.spec.algorithm)
    return algorithm.choose(experiment) if algorithm.choose is not None else algorithm


def note_on(spec: AlgorithmSpec) -> str:
    """Returns a sentence on how the algorithm differs from Katib's of this name, or ""."""
    return algorithm_of(spec).note


def check_packages(spec: AlgorithmSpec) -> None:
    """Checks, without importing anything, that the algorithm's packages are installed.

    Raises:
        MissingPackage: A package is not installed.
    """
    algorithm = algorithm_of(spec)
    for package in (text.partition("==")[0] for text in algorithm.packages):
        if find_spec(package) is None:
            raise missing(package, f"algorithm {spec.algorithm_name}", algorithm.extra)


def settings_of(spec: AlgorithmSpec) -> dict[str, Any]:
    """Returns the values of the settings by name."""
    rules = algorithm_of(spec).settings
    return {
        setting.name: rules[setting.name].read(setting.value)
        for setting in spec.algorithm_settings
        if setting.name in rules
    }


def _passed_over(spec: AlgorithmSpec) -> tuple[str, ...]:
    """Returns the names of the settings that the algorithm does not know, which are no faults."""
    algorithm = algorithm_of(spec)
    return tuple(
        f"{setting.name}{did_you_mean(setting.name, algorithm.settings)}"
        for setting in spec.algorithm_settings
        if setting.name not in algorithm.settings
    )


def notes_on(spec: ExperimentSpec) -> tuple[str, ...]:
    """Returns sentences on what the algorithm's settings amount to, if there is something to say.

    Args:
        spec: The specification of an Experiment without faults.
    """
    name = spec.algorithm.algorithm_name
    unknown = _passed_over(spec.algorithm)
    algorithm = algorithm_of(spec.algorithm)
    does = f"algorithm {name}: {algorithm.unknown_settings} {', '.join(unknown)}, as in Katib"
    return ((does,) if unknown else ()) + algorithm.notes(spec, settings_of(spec.algorithm))


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the algorithm, its settings, and the parameters for it."""
    spec = parts.algorithm
    if spec is None:
        return
    where = "spec.algorithm"
    algorithm = _found(spec.algorithm_name)
    if isinstance(algorithm, str):
        hint = "" if ":" in spec.algorithm_name else did_you_mean(spec.algorithm_name, ALGORITHMS)
        yield Fault(f"{where}.algorithmName", f'"{spec.algorithm_name}"{hint}', algorithm)
        return
    yield from _ability_faults(parts, spec.algorithm_name, algorithm)
    where = f"{where}.algorithmSettings"
    settings: dict[str, Any] = {}
    yield from _setting_faults(spec, algorithm, where, settings)
    for name in algorithm.required:
        if all(setting.name != name for setting in spec.algorithm_settings):
            allowed = f"a setting {name}: {algorithm.settings[name].allowed}"
            yield Fault(where, f"no {name}", allowed)
    yield from algorithm.check(parts, settings)


def _ability_faults(parts: Parts, name: str, algorithm: Algorithm) -> Iterator[Fault]:
    """Yields the features that the Experiment asks for and the algorithm lacks."""
    asked: list[tuple[Ability, str]] = []
    if parts.objective is not None and is_several(parts.objective):
        asked.append((Ability.OBJECTIVES, "spec.objective.goals"))
    if parts.objective is not None and parts.objective.constraints:
        asked.append((Ability.CONSTRAINTS, "spec.objective.constraints"))
    if parts.metadata is not None and is_asked(parts.metadata.annotations):
        asked.append((Ability.ENQUEUED, f"metadata.annotations[{ENQUEUE}]"))
    for index, parameter in parts.parameters:
        if parameter.when is not None:
            asked.append((Ability.CONDITIONS, f"spec.parameters[{index}].when"))
    for ability, path in asked:
        if ability in algorithm.lacks:
            yield Fault(
                path, f"{ability}, for algorithm {name}", f"none; or one of {able(ability)}"
            )


def able(ability: Ability) -> str:
    """Returns the names of the algorithms that have an ability, for errors."""
    names = [known for known, each in ALGORITHMS.items() if ability not in each.lacks]
    by_name = f"{PREFIX}<sampler>" if ability is not Ability.WARM_START else f"{PREFIX}TPESampler"
    return ", ".join([*sorted(names), by_name])


def check_warm_start(experiment: Experiment) -> None:
    """Checks that the algorithm learns from trials that it has not suggested.

    Raises:
        InputError: It does not.
    """
    if Ability.WARM_START in chosen_for(experiment).lacks:
        name = experiment.spec.algorithm.algorithm_name
        chosen = next(
            (known for known, each in ALGORITHMS.items() if each is chosen_for(experiment)), name
        )
        found = name if chosen == name else f"{name}, which chooses {chosen} here"
        raise InputError(
            f"--warm-start: found algorithm {found}, which learns nothing from trials of another "
            f"run; allowed: {able(Ability.WARM_START)}"
        )


def count_faults(parts: Parts) -> Iterator[Fault]:
    """Yields the algorithm's own faults of an Experiment whose settings have no faults."""
    if parts.algorithm is not None:
        yield from algorithm_of(parts.algorithm).check(parts, settings_of(parts.algorithm))


def _setting_faults(
    spec: AlgorithmSpec, algorithm: Algorithm, where: str, settings: dict[str, Any]
) -> Iterator[Fault]:
    """Yields the faults of single settings, and puts the values of the others into ``settings``."""
    seen: set[str] = set()
    for index, setting in enumerate(spec.algorithm_settings):
        path = f"{where}[{index}]"
        rule = algorithm.settings.get(setting.name)
        if rule is None and algorithm.unknown_settings:
            continue
        if rule is None:
            yield _unknown(setting, path, algorithm, spec.algorithm_name)
            continue
        if setting.name in seen:
            yield Fault(f"{path}.name", f'"{setting.name}" again', "each setting once")
        seen.add(setting.name)
        try:
            settings[setting.name] = rule.read(setting.value)
        except ValueError:
            yield Fault(f"{path}.value", f'"{setting.value}"', rule.allowed)


def _unknown(setting: Setting, path: str, algorithm: Algorithm, name: str) -> Fault:
    hint = did_you_mean(setting.name, algorithm.settings)
    known = ", ".join(sorted(algorithm.settings))
    return Fault(f"{path}.name", f'"{setting.name}"{hint}', f"{known}, for {name}")
