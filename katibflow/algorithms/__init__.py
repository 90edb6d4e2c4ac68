"""The search algorithms by Katib's names: which settings each takes and what it is made of.

Source of the settings: Katib's validation of each suggestion service
(``pkg/suggestion/v1beta1/{hyperopt,optuna,skopt,goptuna,hyperband,pbt}``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from katibflow.algorithms.base import Algorithm, SettingRule, Settings, Suggestion
from katibflow.algorithms.cmaes import CMAES
from katibflow.algorithms.samplers import BAYESIAN, MULTIVARIATE_TPE, RANDOM, TPE
from katibflow.algorithms.sequences import GRID, SOBOL
from katibflow.errors import Fault, MissingPackage
from katibflow.experiment import Algorithm as AlgorithmSpec
from katibflow.experiment import Setting
from katibflow.loading import Parts

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "SettingRule",
    "Settings",
    "Suggestion",
    "algorithm_of",
    "check_packages",
    "faults",
    "settings_of",
]

ALGORITHMS: Mapping[str, Algorithm] = {
    "bayesianoptimization": BAYESIAN,
    "cmaes": CMAES,
    "grid": GRID,
    "multivariate-tpe": MULTIVARIATE_TPE,
    "random": RANDOM,
    "sobol": SOBOL,
    "tpe": TPE,
}
"""Algorithm by Katib's name."""


def algorithm_of(spec: AlgorithmSpec) -> Algorithm:
    """The algorithm of a specification that `faults` has found nothing wrong with."""
    return ALGORITHMS[spec.algorithm_name]


def check_packages(spec: AlgorithmSpec) -> None:
    """Checks, without importing anything, that the algorithm's packages are installed.

    Raises:
        MissingPackage: One is not.
    """
    for package in algorithm_of(spec).packages:
        if find_spec(package) is None:
            raise MissingPackage(package, f"algorithm {spec.algorithm_name}")


def settings_of(spec: AlgorithmSpec) -> dict[str, Any]:
    """The values of the settings by name."""
    rules = algorithm_of(spec).settings
    return {
        setting.name: rules[setting.name].read(setting.value) for setting in spec.algorithm_settings
    }


def faults(parts: Parts) -> Iterator[Fault]:
    """What is wrong with the algorithm, its settings, and the parameters it is to search."""
    spec = parts.algorithm
    if spec is None:
        return
    where = "spec.algorithm"
    algorithm = ALGORITHMS.get(spec.algorithm_name)
    if algorithm is None:
        yield Fault(
            f"{where}.algorithmName",
            f'"{spec.algorithm_name}"{_nearest(spec.algorithm_name, ALGORITHMS)}',
            ", ".join(sorted(ALGORITHMS)),
        )
        return
    where = f"{where}.algorithmSettings"
    settings: dict[str, Any] = {}
    yield from _setting_faults(spec, algorithm, where, settings)
    for name in algorithm.required:
        if all(setting.name != name for setting in spec.algorithm_settings):
            allowed = f"a setting {name}: {algorithm.settings[name].allowed}"
            yield Fault(where, f"no {name}", allowed)
    yield from algorithm.check(parts, settings)


def _setting_faults(
    spec: AlgorithmSpec, algorithm: Algorithm, where: str, settings: dict[str, Any]
) -> Iterator[Fault]:
    """What is wrong with single settings; those with nothing wrong are put in ``settings``."""
    seen: set[str] = set()
    for index, setting in enumerate(spec.algorithm_settings):
        path = f"{where}[{index}]"
        rule = algorithm.settings.get(setting.name)
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
    hint = _nearest(setting.name, algorithm.settings)
    known = ", ".join(sorted(algorithm.settings))
    return Fault(f"{path}.name", f'"{setting.name}"{hint}', f"{known}, for {name}")


def _nearest(word: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
