"""The search algorithms by Katib's names: which settings each takes and what it is made of.

An algorithm is either an Optuna sampler, made anew for each suggestion from the settings and a
seed, or a fixed sequence of points whose n-th serves trial n.

Source of the settings: Katib's validation of each suggestion service
(``pkg/suggestion/v1beta1/{hyperopt,optuna,skopt,goptuna}``).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from katibflow.errors import Fault, MissingPackage
from katibflow.experiment import Algorithm as AlgorithmSpec
from katibflow.experiment import Parameter, ParameterType
from katibflow.loading import Parts
from katibflow.space import Space

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

__all__ = [
    "ALGORITHMS",
    "LARGEST_SEED",
    "Algorithm",
    "SettingRule",
    "algorithm_of",
    "check_packages",
    "faults",
    "settings_of",
]

LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class SettingRule:
    """What one algorithm setting may be.

    Attributes:
        allowed: In words, for errors.
        read: The value of a setting's text; raises ValueError if it is not allowed.
    """

    allowed: str
    read: Callable[[str], Any]


Settings = Mapping[str, Any]


class MakeSampler(Protocol):
    """Makes an Optuna sampler."""

    def __call__(self, settings: Settings, seed: int) -> BaseSampler:
        """A new sampler that does the same whenever it gets the same seed."""


class PointAt(Protocol):
    """A fixed sequence of points."""

    def __call__(self, space: Space, seed: int, index: int) -> dict[str, str]:
        """The assignments at an index from 0."""


@dataclass(frozen=True)
class Algorithm:
    """One algorithm; exactly one of ``sampler`` and ``sequence`` is there.

    Attributes:
        settings: Rule by setting name.
        check: What is wrong with the parameters for this algorithm: index of the parameter (None:
            all of them), what was found, what is allowed.
        packages: What it imports besides Optuna, as pip knows it.
    """

    settings: Mapping[str, SettingRule]
    sampler: MakeSampler | None = None
    sequence: PointAt | None = None
    check: Callable[[Parts], Iterator[Fault]] = field(default=lambda parts: iter(()))
    packages: tuple[str, ...] = ()


def _whole(low: int, high: int | None = None) -> SettingRule:
    allowed = f"a whole number of at least {low}" if high is None else f"{low} to {high}"

    def read(text: str) -> int:
        value = int(text)
        if value < low or (high is not None and value > high):
            raise ValueError(text)
        return value

    return SettingRule(allowed, read)


def _above(low: float, most: float = math.inf) -> SettingRule:
    allowed = f"a number above {low:g}" + (f", at most {most:g}" if most < math.inf else "")

    def read(text: str) -> float:
        value = float(text)
        if not (low < value <= most and math.isfinite(value)):
            raise ValueError(text)
        return value

    return SettingRule(allowed, read)


def _one_of(*words: str) -> SettingRule:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return SettingRule(", ".join(words), read)


_RANDOM_STATE = {"random_state": _whole(0, LARGEST_SEED)}


def _random(settings: Settings, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _tpe(settings: Settings, seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    options: dict[str, Any] = {}
    if "gamma" in settings:
        # hyperopt's rule, whose gamma Katib hands through; it grows with the root of the trials.
        gamma = settings["gamma"]
        options["gamma"] = lambda count: min(math.ceil(gamma * math.sqrt(count)), 25)
    if "prior_weight" in settings:
        options["prior_weight"] = settings["prior_weight"]
    return TPESampler(
        seed=seed,
        n_ei_candidates=settings.get("n_EI_candidates", 24),
        constant_liar=True,
        warn_independent_sampling=False,
        **options,
    )


def _gaussian_process(settings: Settings, seed: int) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(
        seed=seed,
        n_startup_trials=settings.get("n_initial_points", 10),
        warn_independent_sampling=False,
    )


def _cmaes(settings: Settings, seed: int) -> BaseSampler:
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(seed=seed, sigma0=settings.get("sigma"), warn_independent_sampling=False)


def _grid(space: Space, seed: int, index: int) -> dict[str, str]:
    """Steps of nearly the golden share of the grid: it fills evenly however early it stops."""
    size = space.size
    assert size is not None
    stride = max(1, round(size * 0.6180339887))
    while math.gcd(stride, size) != 1:
        stride += 1
    return space.point((seed + stride * index) % size)


def _sobol(space: Space, seed: int, index: int) -> dict[str, str]:
    from scipy.stats.qmc import Sobol

    engine = Sobol(len(space.dimensions), scramble=True, rng=seed)
    if index:
        engine.fast_forward(index)
    return space.at([float(share) for share in engine.random(1)[0]])


def _grid_faults(parts: Parts) -> Iterator[Fault]:
    for index, parameter in parts.parameters:
        space = parameter.feasible_space
        if (
            parameter.type is ParameterType.DOUBLE
            and space.list is None
            and space.step is None
            and space.min != space.max
        ):
            yield Fault(
                f"spec.parameters[{index}].feasibleSpace.step", "", "a number, for algorithm grid"
            )


def _cmaes_faults(parts: Parts) -> Iterator[Fault]:
    numeric = [parameter for _, parameter in parts.parameters if _is_numeric(parameter)]
    if parts.complete and len(numeric) < 2:
        yield Fault(
            "spec.parameters", f"{len(numeric)} numeric", "at least two, for algorithm cmaes"
        )


def _is_numeric(parameter: Parameter) -> bool:
    return parameter.type is not ParameterType.CATEGORICAL


def _sobol_faults(parts: Parts) -> Iterator[Fault]:
    most = 21_201  # scipy's table of direction numbers
    if len(parts.parameters) > most:
        yield Fault(
            "spec.parameters", f"{len(parts.parameters)}", f"at most {most}, for algorithm sobol"
        )


ALGORITHMS: Mapping[str, Algorithm] = {
    "bayesianoptimization": Algorithm(
        {
            **_RANDOM_STATE,
            "n_initial_points": _whole(1),
            "base_estimator": _one_of("GP"),
            "acq_func": _one_of("gp_hedge", "EI", "LCB", "PI"),
            "acq_optimizer": _one_of("auto", "sampling", "lbfgs"),
        },
        sampler=_gaussian_process,
        packages=("torch",),
    ),
    "cmaes": Algorithm(
        {**_RANDOM_STATE, "sigma": _above(0), "restart_strategy": _one_of("none")},
        sampler=_cmaes,
        check=_cmaes_faults,
        packages=("cmaes",),
    ),
    "grid": Algorithm(_RANDOM_STATE, sequence=_grid, check=_grid_faults),
    "random": Algorithm(_RANDOM_STATE, sampler=_random),
    "sobol": Algorithm(_RANDOM_STATE, sequence=_sobol, check=_sobol_faults, packages=("scipy",)),
    "tpe": Algorithm(
        {
            **_RANDOM_STATE,
            "gamma": _above(0, 1),
            "prior_weight": _above(0),
            "n_EI_candidates": _whole(1),
        },
        sampler=_tpe,
    ),
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
    seen: set[str] = set()
    for index, setting in enumerate(spec.algorithm_settings):
        path = f"{where}.algorithmSettings[{index}]"
        rule = algorithm.settings.get(setting.name)
        if rule is None:
            hint = _nearest(setting.name, algorithm.settings)
            yield Fault(
                f"{path}.name",
                f'"{setting.name}"{hint}',
                f"{', '.join(sorted(algorithm.settings))}, for {spec.algorithm_name}",
            )
            continue
        if setting.name in seen:
            yield Fault(f"{path}.name", f'"{setting.name}" again', "each setting once")
        seen.add(setting.name)
        try:
            rule.read(setting.value)
        except ValueError:
            yield Fault(f"{path}.value", f'"{setting.value}"', rule.allowed)
    yield from algorithm.check(parts)


def _nearest(word: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else ""
