"""Katib's algorithms that are samplers of Optuna, such as tpe, random, bayesianoptimization."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from katibflow.study.optuna_study import quiet_optuna
from katibflow.suggestion.algorithms.base import Ability, Algorithm, Settings
from katibflow.suggestion.algorithms.settings import RANDOM_STATE, number, one_of, whole

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

__all__ = ["BAYESIAN", "MULTIVARIATE_TPE", "RANDOM", "TPE"]


def _random(settings: Settings, seed: int) -> BaseSampler:
    from katibflow.suggestion.algorithms.random_sampler import ReseededRandomSampler

    return ReseededRandomSampler(seed)


def _tpe(settings: Settings, seed: int) -> BaseSampler:
    from katibflow.suggestion.algorithms.tpe import OnceTPESampler

    options: dict[str, Any] = {}
    if "gamma" in settings:
        # hyperopt's rule, whose gamma Katib hands through; it grows with the root of the trials.
        gamma = settings["gamma"]
        options["gamma"] = lambda count: min(math.ceil(gamma * math.sqrt(count)), 25)
    if "prior_weight" in settings:
        options["prior_weight"] = settings["prior_weight"]
    return OnceTPESampler(
        seed=seed,
        n_ei_candidates=settings.get("n_EI_candidates", 24),
        multivariate=False,
        **options,
    )


def _multivariate_tpe(settings: Settings, seed: int) -> BaseSampler:
    from katibflow.suggestion.algorithms.tpe import OnceTPESampler

    with quiet_optuna():  # it warns that group may change
        return OnceTPESampler(
            seed=seed,
            n_startup_trials=settings.get("n_startup_trials", 10),
            n_ei_candidates=max(1, settings.get("n_ei_candidates", 24)),
            multivariate=True,
            # What is active together is modelled together; without conditions that is all.
            group=True,
        )


def _gaussian_process(settings: Settings, seed: int) -> BaseSampler:
    from katibflow.suggestion.algorithms.gaussian_process import BoundedGPSampler

    return BoundedGPSampler(
        seed=seed,
        n_startup_trials=max(1, settings.get("n_initial_points", 10)),
        warn_independent_sampling=False,
    )


BAYESIAN = Algorithm(
    {
        **RANDOM_STATE,
        "n_initial_points": whole(0),
        "base_estimator": one_of("GP", "RF", "ET", "GBRT"),
        "acq_func": one_of("gp_hedge", "LCB", "EI", "PI", "EIps", "PIps"),
        "acq_optimizer": one_of("auto", "sampling", "lbfgs"),
    },
    sampler=_gaussian_process,
    packages=("torch",),
    note=(
        "bayesianoptimization is Optuna's GPSampler: a Gaussian process with a Matern 5/2 kernel "
        "and log expected improvement, whatever base_estimator, acq_func and acq_optimizer say"
    ),
    lacks=frozenset({Ability.CONDITIONS}),
)
MULTIVARIATE_TPE = Algorithm(
    {**RANDOM_STATE, "n_startup_trials": whole(0), "n_ei_candidates": whole(0)},
    sampler=_multivariate_tpe,
)
RANDOM = Algorithm(RANDOM_STATE, sampler=_random, blind=True, lacks=frozenset({Ability.WARM_START}))
TPE = Algorithm(
    {
        **RANDOM_STATE,
        "gamma": number(above=0, below=1),
        "prior_weight": number(above=0),
        "n_EI_candidates": whole(1),
    },
    sampler=_tpe,
    note="tpe is Optuna's TPESampler, one parameter at a time as in hyperopt",
)
