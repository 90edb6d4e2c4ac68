"""What each step of a compiled pipeline installs: what it imports, and nothing else.

Packages that only some algorithm, stopping rule or collector imports stand with that one, in its
`packages`; where they are needed is the same for all of a sort.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from katibflow import collectors, early_stopping
from katibflow.compiler.library import CARRIED
from katibflow.experiment.types import Experiment, ExperimentSpec
from katibflow.suggestion.algorithms import algorithm_of

__all__ = ["KFP", "PACKAGES", "READERS", "SUGGESTERS", "VERSIONS", "packages_of"]

KFP = "kfp==2.17.0"
"""KFP's requirement in steps, whichever compiles; what it requires in turn is not installed."""

VERSIONS: Mapping[str, str] = {
    "gjson": "gjson==1.2.0",
    "jinja2": "Jinja2==3.1.6",
    "kubernetes": "kubernetes==30.1.0",
    "optuna": "optuna==5.0.0",
    "plotly": "plotly==7.1.0",
    "pydantic": "pydantic==2.14.3",
    "pyyaml": "PyYAML==6.0.3",
    "scipy": "scipy==1.17.1",
    "torch": "torch==2.14.1",
}
"""What pip is told for a package that is named without its version, in several places."""

_CORE = ("pydantic", "pyyaml")

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "start": (*_CORE, "gjson", "kubernetes"),
    "suggestion": (*_CORE, "optuna"),
    "launcher": (*_CORE, "gjson", "kubernetes"),
    "controller": (*_CORE, "gjson", "kubernetes", "optuna"),
    "collector": (*_CORE, "gjson", "kubernetes"),
    "loop": _CORE,
    "summary": (*_CORE, "jinja2", "optuna", "plotly"),
    "report": (*_CORE, "gjson", "jinja2", "kubernetes", "optuna", "plotly"),
    "finish": ("kubernetes",),
}
"""By step, what every Experiment takes."""

READERS = ("launcher", "controller")
"""Steps that follow trials: they read the metrics, and stop early."""

SUGGESTERS = ("suggestion", "controller")
"""Steps that ask for new trials."""

_OF_THE_LIBRARY = ("start", *CARRIED)
"""Steps that import the library, and read the Experiment."""


def packages_of(step: str, experiment: Experiment, package: str | None = None) -> tuple[str, ...]:
    """Returns what pip is to install in a step, each package with its version.

    Args:
        step: The component's name.
        experiment: A checked Experiment.
        package: What pip installs in place of the library that the pipeline carries.
    """
    wanted = dict.fromkeys(PACKAGES.get(step, ()))
    if step in _OF_THE_LIBRARY:
        wanted.update(dict.fromkeys(_for_the_experiment(step, experiment.spec)))
    pinned = [VERSIONS.get(each, each) for each in wanted]
    return (*pinned, package) if package is not None and step in _OF_THE_LIBRARY else (*pinned,)


def _for_the_experiment(step: str, spec: ExperimentSpec) -> Iterator[str]:
    stopping = spec.early_stopping.algorithm_name if spec.early_stopping is not None else ""
    if ":" in spec.algorithm.algorithm_name + stopping:
        # Optuna's own classes say what their settings are, wherever the Experiment is read.
        yield "optuna"
    if step in SUGGESTERS:
        yield from algorithm_of(spec.algorithm).packages
    if step in READERS:
        yield from early_stopping.packages_of(spec)
        yield from collectors.packages_of(spec)
