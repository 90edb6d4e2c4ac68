"""Makes algorithms of the samplers of Optuna and OptunaHub, by the names of their classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.study.optuna_study import quiet_optuna
from katibflow.suggestion.algorithms.base import Ability, Algorithm, SettingRule, Settings
from katibflow.suggestion.algorithms.settings import RANDOM_STATE
from katibflow.suggestion.algorithms.signatures import Signature, signature_of

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

__all__ = ["HUB_PREFIX", "PREFIX", "hub_sampler", "optuna_sampler"]

PREFIX = "optuna:"
HUB_PREFIX = "optunahub:"

_REFUSED: Mapping[str, str] = {
    "BaseGASampler": "",
    "BaseSampler": "",
    "BruteForceSampler": "grid, which tries every combination once",
    "CmaEsSampler": "cmaes, which is the same and keeps its state without pickles",
    "GridSampler": "grid",
    "PartialFixedSampler": "another sampler, and a parameter whose min is its max",
}
"""Name of a refused sampler to the allowed alternative."""

_PACKAGES: Mapping[str, tuple[str, ...]] = {"GPSampler": ("torch",), "QMCSampler": ("scipy",)}

_ALWAYS_ALL = frozenset({"GPSampler", "QMCSampler"})
"""Samplers that model only parameters that every trial has, and draw others at random."""

_LEARNS = frozenset({"GPSampler", "TPESampler"})
"""Samplers that model all trials; the others keep what they learn in their own trials."""

_BLIND = frozenset({"RandomSampler"})
"""Samplers that look at no trial."""

_ONE_SEED = frozenset({"QMCSampler"})
"""Samplers whose points form one sequence only if the seed stays the same."""


def optuna_sampler(name: str) -> Algorithm | str:
    """Returns the algorithm of a sampler of Optuna by its class, or the allowed names in words."""
    import optuna

    kinds = {
        known: getattr(optuna.samplers, known)
        for known in optuna.samplers.__all__
        if known.endswith("Sampler") and known not in _REFUSED
    }
    if name not in kinds:
        return _REFUSED.get(name) or ", ".join(f"{PREFIX}{known}" for known in sorted(kinds))
    if name == "GPSampler":
        from katibflow.suggestion.algorithms.gaussian_process import BoundedGPSampler

        kinds[name] = BoundedGPSampler
    if name in _BLIND:
        from katibflow.suggestion.algorithms.random_sampler import ReseededRandomSampler

        kinds[name] = ReseededRandomSampler
    made = _algorithm(kinds[name], _PACKAGES.get(name, ()), one_seed=name in _ONE_SEED)
    lacks = {Ability.CONDITIONS} if name in _ALWAYS_ALL else set()
    return replace(
        made, blind=name in _BLIND, lacks=frozenset(lacks | ({Ability.WARM_START} - _learned(name)))
    )


def _learned(name: str) -> set[Ability]:
    """Returns the ability to learn from trials that the sampler has not suggested, if it has it."""
    return {Ability.WARM_START} if name in _LEARNS else set()


def hub_sampler(name: str) -> Algorithm | str:
    """Returns the algorithm of a sampler of OptunaHub, or what is allowed, in words.

    The package is loaded from OptunaHub's cache on this machine, or over the network.
    """
    package, _, kind = name.rpartition("/")
    if find_spec("optunahub") is None:
        cure = "pip install 'katibflow[optunahub]' (and a network)"
        return f"an algorithm that needs no download, or {cure}"
    if not package:
        return f"{HUB_PREFIX}<package>/<class>, as {HUB_PREFIX}samplers/ctpe/cTPESampler"
    import optunahub
    from optuna.samplers import BaseSampler

    try:
        module = optunahub.load_module(package)
    except Exception as error:  # whatever the network, git or the package raises
        return f"a package that OptunaHub has: {type(error).__name__}: {error}"
    found = getattr(module, kind, None)
    if not (isinstance(found, type) and issubclass(found, BaseSampler)):
        return f"a sampler of the package {package}"
    return _algorithm(found, ("optunahub",))


def _algorithm(
    kind: Callable[..., BaseSampler], packages: tuple[str, ...], *, one_seed: bool = False
) -> Algorithm:
    signature = signature_of(kind)
    rules: dict[str, SettingRule] = {**signature.rules, **RANDOM_STATE}
    if "seed" in rules:
        rules["seed"] = RANDOM_STATE["random_state"]

    def make(settings: Settings, seed: int) -> BaseSampler:
        arguments = signature.arguments(settings)
        if "seed" in signature.rules:
            arguments["seed"] = seed
        return kind(**arguments)

    def check(parts: Parts, settings: Settings) -> Iterator[Fault]:
        if all(_package_is_there(package) for package in packages):
            yield from _constructor_faults(make, signature, settings)

    return Algorithm(
        rules,
        required=signature.required,
        sampler=make,
        check=check,
        packages=packages,
        one_seed=one_seed,
        is_katibs=False,
    )


def _package_is_there(package: str) -> bool:
    """Returns whether a package can be imported."""
    return find_spec(package) is not None


def _constructor_faults(
    make: Callable[[Settings, int], Any], signature: Signature, settings: Settings
) -> Iterator[Fault]:
    if any(name not in settings for name in signature.required):
        return
    try:
        with quiet_optuna():
            make(settings, 0)
    except (TypeError, ValueError) as error:
        found = ", ".join(f"{name}={value}" for name, value in settings.items())
        yield Fault("spec.algorithm.algorithmSettings", found, str(error))
