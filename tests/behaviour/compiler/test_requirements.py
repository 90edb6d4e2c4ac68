"""What steps install, held against what their sources import."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from packaging.requirements import Requirement

from katibflow import collectors
from katibflow.collectors import KINDS
from katibflow.compiler.library import CARRIED, LOADERS
from katibflow.compiler.requirements import (
    AT_THE_END,
    PACKAGES,
    READERS,
    SUGGESTERS,
    packages_of,
)
from katibflow.experiment.types import Experiment
from katibflow.steps.installing import pinned, pins
from katibflow.suggestion import algorithms
from katibflow.suggestion.algorithms import ALGORITHMS
from tests.behaviour.compiler.imports import Target, modules, packages_reached
from tests.shell_trials import document

STEPS = (*LOADERS, *CARRIED)
CALLED = {"controller": ("start", "controller", "report"), "finish": ("finish", "study_at_end")}
"""The functions that a component calls, if they are not the one of its name."""
OWNERS = {
    "google.protobuf": "protobuf",
    "google_crc32c": "google-crc32c",
    "prometheus_client": "prometheus-client",
    "re2": "google-re2",
    "yaml": "pyyaml",
}
"""The package of a module, where the names differ."""

BROUGHT = {"optuna": {"numpy", "sqlalchemy"}, "kubernetes": {"urllib3", "pyyaml"}}
"""What comes with a package that is installed."""

FROM_A_NAME = {"optuna", "optunahub", "numpy"}
"""What finds a class of Optuna's by its name: those are installed where the name is read."""


NOT_USED = {"summary": {"kubernetes", "urllib3"}}
"""What a step only comes by: `summary` asks for the names of the runners, and makes none."""


def plain(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[=<>]", text)[0].lower() for text in requirements}


def reached(*roots: Target) -> set[str]:
    return {OWNERS.get(name, name) for name in packages_reached(*roots)}


def with_what_comes(packages: Iterable[str]) -> set[str]:
    names = plain(packages)
    return names.union(*(BROUGHT.get(name, set()) for name in names))


def experiment(**changes: Any) -> Experiment:
    return Experiment.model_validate(
        document("echo loss=1", {f"spec.{name}": value for name, value in changes.items()})
    )


def entries(registry: str, known: Iterable[Any]) -> dict[str, tuple[Target, Any]]:
    """Where the entries of a registry are defined, by the names of their constants."""
    module = modules()[registry]
    source = {"katibflow.collectors": collectors, "katibflow.suggestion.algorithms": algorithms}
    return {
        name: (target, getattr(source[registry], name))
        for name, target in module.imported.items()
        if any(getattr(source[registry], name, None) is each for each in known)
    }


KIND_ENTRIES = entries("katibflow.collectors", KINDS.values())
ALGORITHM_ENTRIES = entries("katibflow.suggestion.algorithms", ALGORITHMS.values())
SOMETIMES = plain(
    [package for kind in KINDS.values() for package in kind.packages]
    + [package for algorithm in ALGORITHMS.values() for package in algorithm.packages]
).union({"scipy", "google-re2"}, FROM_A_NAME)
"""What stands with an algorithm, a stopping rule or a collector."""


def test_the_reading_of_sources_finds_every_entry() -> None:
    assert set(map(id, KINDS.values())) == {id(entry) for _, entry in KIND_ENTRIES.values()}
    assert {name for name, each in ALGORITHMS.items() if each.choose is None} == {
        name
        for name, each in ALGORITHMS.items()
        if any(each is entry for _, entry in ALGORITHM_ENTRIES.values())
    }


@pytest.mark.parametrize("step", STEPS)
def test_a_step_installs_what_it_imports_and_nothing_else(step: str) -> None:
    imported = reached(*(("katibflow.steps.tasks", each) for each in CALLED.get(step, (step,))))
    installed = with_what_comes(PACKAGES[step])
    assert imported - installed - NOT_USED.get(step, set()) <= SOMETIMES
    assert set(PACKAGES[step]) <= imported


def test_finish_installs_what_a_report_imports_when_it_has_one_to_write() -> None:
    imported = reached(("katibflow.steps.tasks", "report_at_end"))
    installed = with_what_comes((*PACKAGES["finish"], *AT_THE_END))
    assert imported - installed - NOT_USED.get("report", set()) <= SOMETIMES


@pytest.mark.parametrize("step", STEPS)
def test_what_the_library_imports_at_once_is_installed_in_each_step(step: str) -> None:
    at_once = reached(*((name, "") for name in ("katibflow.steps", f"katibflow.components.{step}")))
    assert at_once - {"kfp"} <= plain(PACKAGES[step])


@pytest.mark.parametrize("name", KIND_ENTRIES)
def test_a_collector_names_the_packages_that_it_imports(name: str) -> None:
    target, kind = KIND_ENTRIES[name]
    imported = reached(target) - {"pydantic", "pyyaml"} - plain(collectors.FILTER_PACKAGES)
    assert imported == plain(kind.packages)


@pytest.mark.parametrize("name", ALGORITHM_ENTRIES)
def test_an_algorithm_names_the_packages_that_it_imports(name: str) -> None:
    target, algorithm = ALGORITHM_ENTRIES[name]
    packages = plain(algorithm.packages)
    imported = reached(target) - {"pydantic", "pyyaml", "optuna", "numpy"}
    assert imported <= packages
    assert packages - imported <= {"torch"}  # which Optuna's sampler imports by itself


CASES = [
    *({"metricsCollectorSpec": {"collector": {"kind": kind}}} for kind in KINDS),
    *({"algorithm": {"algorithmName": name}} for name in (*ALGORITHMS, "optuna:GPSampler")),
    {"earlyStopping": {"algorithmName": "optuna:WilcoxonPruner"}},
    {"metricsCollectorSpec": {"source": {"filter": {"metricsFormat": ["(a)=(b)"]}}}},
]


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_every_package_has_its_version(changes: dict[str, Any]) -> None:
    for step in PACKAGES:
        for package in packages_of(step, experiment(**changes)):
            assert re.fullmatch(r"[\w-]+==\d[\w.]*", package), package


def test_what_is_wanted_is_what_steps_install_and_bounds_of_what_that_requires() -> None:
    wanted = {requirement.name: requirement for requirement in map(Requirement, pins()["wanted"])}
    assert SOMETIMES - FROM_A_NAME | {each for step in PACKAGES.values() for each in step} <= {
        *wanted
    }
    for name, requirement in wanted.items():
        assert requirement.specifier.contains(pins()["packages"][name][0]), name


def test_every_package_comes_with_all_that_it_requires_and_hashes_of_both_machines() -> None:
    packages = pins()["packages"]
    for name, (_, required, hashes) in packages.items():
        assert set(required) <= set(packages), name
        assert hashes and all(re.fullmatch("[0-9a-f]{64}", each) for each in hashes), name
    (colorlog,) = (line for line in pinned(["optuna"]) if line.startswith("colorlog=="))
    assert colorlog.count(" --hash=sha256:") == 1
    assert next(line for line in pinned(["numpy"])).count(" --hash=sha256:") >= 2
    assert pinned(["optuna", "numpy"]) == pinned(["optuna"])


def test_only_what_is_named_exactly_in_pins_can_be_installed() -> None:
    with pytest.raises(KeyError, match="unknown"):
        pinned(["unknown"])


class TestWhereTheyGo:
    def steps(self, package: str, **changes: Any) -> set[str]:
        tried = experiment(**changes)
        return {step for step in PACKAGES if package in plain(packages_of(step, tried))}

    def test_an_algorithms_to_the_steps_that_ask_it(self) -> None:
        assert self.steps("cmaes", algorithm={"algorithmName": "cmaes"}) == {*SUGGESTERS}
        assert self.steps("cmaes") == set()

    def test_a_stopping_rules_and_a_filters_to_the_steps_that_follow_trials(self) -> None:
        pruner = {"algorithmName": "optuna:WilcoxonPruner"}
        assert self.steps("scipy", earlyStopping=pruner) == {*READERS}
        filtered = {"source": {"filter": {"metricsFormat": [r"(\w+)=(\S+)"]}}}
        assert self.steps("google-re2", metricsCollectorSpec=filtered) == {*READERS}

    def test_optuna_where_a_class_of_its_is_named(self) -> None:
        named = {"algorithmName": "optuna:RandomSampler"}
        assert self.steps("optuna", algorithm=named) == {*STEPS}

    def test_a_package_in_place_of_the_library_to_all_that_import_it(self) -> None:
        assert {
            step
            for step in PACKAGES
            if "katibflow==1" in packages_of(step, experiment(), "katibflow==1")
        } == {*STEPS}
