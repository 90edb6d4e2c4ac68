"""Where the compiled file has the library: once, in a component that never runs, and nowhere else.

A step's command stands in Argo's Workflow object some eight times, the library's only once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

import katibflow
from katibflow.compiler.emit import compile_experiment
from katibflow.compiler.ir import dag_tasks
from katibflow.compiler.library import CARRIED, PLAIN, pack_library
from katibflow.compiler.requirements import PACKAGES
from katibflow.components.library import PACK
from katibflow.experiment.types import Experiment
from katibflow.suggestion.algorithms import ALGORITHMS
from tests.nas import KATIBS
from tests.shell_trials import document
from tests.shell_trials import experiment as sample

MAX_CARRIED = 600
MAX_OWN = 4_000
IN_A_FILE = {"kind": "File", "path": "/var/log/m.log"}
SOURCES: tuple[dict[str, Any], ...] = (
    {},
    {"collector": {"kind": "File"}, "source": {"fileSystemPath": IN_A_FILE}},
    {
        "collector": {"kind": "File"},
        "source": {"fileSystemPath": {**IN_A_FILE, "format": "JSON"}},
    },
    {"collector": {"kind": "TensorFlowEvent"}},
    {"collector": {"kind": "PrometheusMetric"}},
    {"collector": {"kind": "Push"}},
    {"collector": {"kind": "StdOut"}, "source": {"filter": {"metricsFormat": [r"(\w+)=(\S+)"]}}},
)
MEDIAN = {
    "algorithmName": "medianstop",
    "algorithmSettings": [{"name": "min_trials_required", "value": "2"}],
}
STOPPING: tuple[dict[str, Any] | None, ...] = (
    None,
    MEDIAN,
    {"algorithmName": "optuna:MedianPruner"},
)


def tried(algorithm: str, source: dict[str, Any], stopping: dict[str, Any] | None) -> Experiment:
    """An Experiment with this algorithm, this place of its metrics and this early stopping.

    What their settings may be is not the compiler's business.
    """
    changes: dict[str, Any] = {
        "spec.algorithm": {"algorithmName": algorithm},
        "spec.metricsCollectorSpec": source,
    }
    if f"{algorithm}-cpu" in KATIBS:  # it searches for networks
        changes["spec.nasConfig"] = KATIBS[f"{algorithm}-cpu"]["spec"]["nasConfig"]
    if stopping is not None:
        changes["spec.earlyStopping"] = stopping
    return Experiment.model_validate(document("echo loss=1", changes))


CASES = [
    pytest.param(
        tried(algorithm, SOURCES[number % len(SOURCES)], STOPPING[number % len(STOPPING)]),
        ("rounds", "controller")[number % 2],
        id=algorithm,
    )
    for number, algorithm in enumerate([*sorted(ALGORITHMS), "optuna:QMCSampler"])
]
"""Each algorithm, collector, rule and layout at least once."""


def commands(spec: Mapping[str, Any]) -> dict[str, list[str]]:
    executors = spec["deploymentSpec"]["executors"]
    return {
        name.removeprefix("exec-"): body["container"]["command"] for name, body in executors.items()
    }


def conditions_above(spec: Mapping[str, Any], component: str) -> Iterator[list[str]]:
    """For each way from the root to a component, the conditions on it."""

    def ways(dag: Mapping[str, Any], on_it: list[str], seen: frozenset[str]) -> Iterator[list[str]]:
        for task in dag["tasks"].values():
            name = task["componentRef"]["name"]
            condition = task.get("triggerPolicy", {}).get("condition")
            now = [*on_it, condition] if condition else on_it
            if name == component:
                yield now
            elif "dag" in spec["components"][name] and name not in seen:
                yield from ways(spec["components"][name]["dag"], now, seen | {name})

    return ways(spec["root"]["dag"], [], frozenset())


@pytest.mark.parametrize(("experiment", "layout"), CASES)
def test_every_file_has_the_library_once_and_short_commands(
    experiment: Experiment, layout: str
) -> None:
    pack = pack_library()
    text = compile_experiment(experiment, layout=layout).text
    spec = next(yaml.safe_load_all(text))
    assert text.count(pack.text) == 1
    assert json.dumps(spec).count(pack.text) == 1
    (holding,) = commands(spec).pop("library")
    assert holding.count(f'"{pack.mark}:{pack.text}"') == 1
    assert PACK not in text
    for name, command in commands(spec).items():
        most = MAX_CARRIED if name in CARRIED else MAX_OWN
        assert name == "library" or len("".join(command)) <= most, name


@pytest.mark.parametrize("layout", ["rounds", "controller"])
def test_carried_components_differ_in_what_they_install_their_input_and_their_name(
    layout: str,
) -> None:
    compiled = commands(
        next(yaml.safe_load_all(compile_experiment(sample("echo"), layout=layout).text))
    )
    carried = {name: command for name, command in compiled.items() if name in CARRIED}
    scripts = set()
    for name, (shell, options, script, study, own) in carried.items():
        kfp, *rest = script.split(";")
        assert kfp.startswith("echo 'kfp==") and "--hash=sha256:" in kfp
        installing = [line for line in rest if "katibflow.steps.installing " in line]
        assert installing[0].endswith(" ".join(PACKAGES[name])), name
        scripts.add((shell, options, kfp, *(line for line in rest if line not in installing)))
        before = "before" if name == "collector" else "study"
        assert (study, own) == (f"{{{{$.inputs.artifacts['{before}'].path}}}}", name)
    assert len(scripts) == bool(carried)
    own = {"rounds": "start", "controller": "controller"}[layout]
    assert set(compiled) - set(carried) == {own, "finish", "library"}


def first_task(spec: dict[str, Any]) -> dict[str, Any]:
    """The task that is given the Experiment."""
    (found,) = (
        task
        for _, task in dag_tasks(spec)
        if "experiment" in task.get("inputs", {}).get("parameters", {})
    )
    return found


@pytest.fixture(scope="module", params=["rounds", "controller"])
def spec(request: pytest.FixtureRequest) -> dict[str, Any]:
    text = compile_experiment(sample("echo loss=1"), layout=request.param).text
    parsed: dict[str, Any] = next(yaml.safe_load_all(text))
    return parsed


class TestTheLibrarysComponent:
    def test_is_behind_a_condition_that_is_never_true(self, spec: dict[str, Any]) -> None:
        never = ["inputs.parameter_values['pipelinechannel--name'] == ''"]
        assert list(conditions_above(spec, "comp-library")) == [never]
        # It is the run's own parameter that is read, and a run without a name fails in `start`.
        (task,) = (
            task
            for task in spec["root"]["dag"]["tasks"].values()
            if task["taskInfo"]["name"] == "library"
        )
        given = {"pipelinechannel--name": {"componentInputParameter": "name"}}
        assert task["inputs"]["parameters"] == given

    def test_nothing_waits_for_it(self, spec: dict[str, Any]) -> None:
        (key,) = (
            key
            for key, task in spec["root"]["dag"]["tasks"].items()
            if task["taskInfo"]["name"] == "library"
        )
        for _, task in dag_tasks(spec):
            assert key not in task.get("dependentTasks", [])

    def test_is_found_by_the_mark_that_start_is_given(self, spec: dict[str, Any]) -> None:
        task = first_task(spec)
        given = task["inputs"]["parameters"]["library"]["runtimeValue"]["constant"]
        assert given == pack_library().mark
        assert given.startswith(f"katibflow-{katibflow.__version__}-")


class TestThePack:
    def test_needs_no_escape_anywhere(self) -> None:
        text = pack_library().text
        assert len(text) > 10_000
        assert not set(text) & set(PLAIN + '"\\ \n')
        assert text.isascii() and text.isprintable()

    def test_is_the_same_for_the_same_modules(self) -> None:
        first = pack_library()
        pack_library.cache_clear()
        assert pack_library() == first


class TestOtherSourcesOfTheLibrary:
    @pytest.mark.parametrize("layout", ["rounds", "controller"])
    def test_an_image_is_used_by_all_steps_and_nothing_is_installed(self, layout: str) -> None:
        text = compile_experiment(sample("echo"), image="python-katibflow:1", layout=layout).text
        spec = next(yaml.safe_load_all(text))
        for body in spec["deploymentSpec"]["executors"].values():
            assert body["container"]["image"] == "python-katibflow:1"
        for command in commands(spec).values():
            assert "-m pip" not in " ".join(command)
        self.carries_nothing(spec)

    @pytest.mark.parametrize("layout", ["rounds", "controller"])
    def test_a_package_is_installed_by_all_steps(self, layout: str) -> None:
        text = compile_experiment(sample("echo"), package="katibflow==9.9", layout=layout).text
        spec = next(yaml.safe_load_all(text))
        installing = {name for name, c in commands(spec).items() if " katibflow==9.9" in c[2]}
        assert installing == set(commands(spec))
        self.carries_nothing(spec)

    def carries_nothing(self, spec: dict[str, Any]) -> None:
        assert "library" not in commands(spec)
        task = first_task(spec)
        assert task["inputs"]["parameters"]["library"] == {"runtimeValue": {"constant": ""}}
        assert pack_library().mark not in json.dumps(spec)


@pytest.mark.parametrize("layout", ["rounds", "controller"])
@pytest.mark.parametrize(
    ("source", "most"),
    [({}, 234), ({"image": "registry/katibflow:1"}, 60), ({"package": "katibflow==1"}, 60)],
    ids=["self-contained", "image", "package"],
)
def test_the_file_is_small_also_with_fifty_parameters(
    layout: str, source: dict[str, Any], most: int
) -> None:
    names = ["x", *(f"parameter{number}" for number in range(49))]
    flags = " ".join(f"--{name}=${{trialParameters.{name}}}" for name in names)
    space = {"min": "0.001", "max": "0.1", "distribution": "logUniform"}
    tried = sample(
        f"python3 train.py {flags}",
        {
            "spec.parameters": [
                {"name": name, "parameterType": "double", "feasibleSpace": space} for name in names
            ],
            "spec.trialTemplate.trialParameters": [
                {"name": name, "description": f"What {name} means", "reference": name}
                for name in names
            ],
        },
    )
    compiled = compile_experiment(tried, layout=layout, **source)
    assert len(compiled.text.encode()) <= most * 1024
