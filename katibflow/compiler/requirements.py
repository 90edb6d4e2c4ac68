"""Lists the packages that each step of a compiled pipeline installs.

A step installs only what it imports. Packages for one algorithm, stopping rule or collector are
listed with that one, in its `packages`. Versions and hashes are in ``katibflow/steps/pins.json``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from katibflow import collectors, early_stopping
from katibflow.compiler.library import CARRIED, LOADERS
from katibflow.experiment.types import Experiment, ExperimentSpec
from katibflow.steps.installing import pins
from katibflow.suggestion.algorithms import algorithm_of

__all__ = [
    "AT_THE_END",
    "KFP",
    "PACKAGES",
    "READERS",
    "SUGGESTERS",
    "VERSIONS",
    "names_of",
    "packages_of",
]

VERSIONS: Mapping[str, str] = {
    name: f"{name}=={version}" for name, (version, *_) in pins()["packages"].items()
}
"""The requirement for pip, with a version, of each package of ``katibflow/steps/pins.json``."""

KFP = VERSIONS["kfp"]
"""The requirement of KFP in steps, whatever version compiles; installed without its own."""

_CORE = ("pydantic", "pyyaml")

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "start": (*_CORE, "kubernetes"),
    "suggestion": (*_CORE, "optuna"),
    "launcher": (*_CORE, "kubernetes"),
    "controller": (*_CORE, "jinja2", "kubernetes", "optuna", "plotly"),
    "collector": (*_CORE, "kubernetes"),
    "loop": _CORE,
    "summary": (*_CORE, "jinja2", "optuna", "plotly"),
    "report": (*_CORE, "jinja2", "kubernetes", "optuna", "plotly"),
    "finish": (*_CORE, "kubernetes"),
}
"""The packages that a step needs for every Experiment, by the step's name."""

AT_THE_END = ("jinja2", "optuna", "plotly")
"""The packages that `finish` installs beside its own, if it has a report to write."""

READERS = ("launcher", "controller")
"""The steps that follow trials, which read metrics and may stop trials early."""

SUGGESTERS = ("suggestion", "controller")
"""The steps that ask an algorithm for new trials."""

_OF_THE_LIBRARY = (*LOADERS, *CARRIED)
"""The steps that import the library and read the Experiment."""


def names_of(requirements: Iterable[str]) -> tuple[str, ...]:
    """Returns the names of packages, of which the library in a pipeline has versions and hashes."""
    return tuple(each.partition("==")[0] for each in requirements)


def packages_of(step: str, experiment: Experiment, package: str | None = None) -> tuple[str, ...]:
    """Returns the requirements that pip installs in a step, each with its version.

    Args:
        step: The component's name.
        experiment: A checked Experiment.
        package: A release for pip to install in place of the library in the pipeline; None for
            that library.
    """
    wanted = dict.fromkeys(PACKAGES.get(step, ()))
    if step in _OF_THE_LIBRARY:
        wanted.update(dict.fromkeys(_for_the_experiment(step, experiment.spec)))
    pinned = [VERSIONS[each] for each in wanted]
    return (*pinned, package) if package is not None and step in _OF_THE_LIBRARY else (*pinned,)


def _for_the_experiment(step: str, spec: ExperimentSpec) -> Iterator[str]:
    stopping = spec.early_stopping.algorithm_name if spec.early_stopping is not None else ""
    if ":" in spec.algorithm.algorithm_name + stopping:
        # Checking the settings of an Optuna class needs Optuna wherever the Experiment is read.
        yield "optuna"
    if step in SUGGESTERS:
        yield from algorithm_of(spec.algorithm).packages
    if step in READERS:
        yield from early_stopping.packages_of(spec)
        yield from collectors.packages_of(spec)
