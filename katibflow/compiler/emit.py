"""Compiles an Experiment to one pipeline file. The only module that imports kfp."""

from __future__ import annotations

import json
import tempfile
import warnings as python_warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from katibflow.algorithms import algorithm_of
from katibflow.compiler.ir import dag_tasks, hand_on, make_recursive
from katibflow.compiler.library import Used, pack_files, pack_library
from katibflow.errors import InputError
from katibflow.experiment import Experiment
from katibflow.jobs import kind_of
from katibflow.runners.kubernetes_checkpoints import check_checkpoints
from katibflow.runners.kubernetes_objects import stop_patch
from katibflow.steps.limits import MANY_TRIALS, MAX_ROUNDS, check_rounds
from katibflow.steps.starting import parameters_of

__all__ = ["BASE_IMAGE", "LAYOUTS", "Compiled", "compile_experiment"]

BASE_IMAGE = "python:3.11-slim"
"""Where the steps run unless ``image`` says otherwise."""

LAYOUTS = ("rounds", "controller")

_VERSIONS = {
    "cmaes": "cmaes==0.13.1",
    "gjson": "gjson==1.2.0",
    "google-re2": "google-re2==1.1.20251105",
    "kubernetes": "kubernetes==30.1.0",
    "optuna": "optuna==5.0.0",
    "plotly": "plotly==7.1.0",
    "psutil": "psutil==7.2.2",
    "pydantic": "pydantic==2.14.3",
    "pyyaml": "PyYAML==6.0.3",
    "scipy": "scipy==1.17.1",
    "torch": "torch==2.14.1",
}
"""What pip is told for each package that steps import."""

_CORE = ("pydantic", "pyyaml")

_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "start": (*_CORE, "gjson", "kubernetes"),
    "suggestion": (*_CORE, "optuna"),
    "launcher": (*_CORE, "gjson", "kubernetes", "psutil"),
    "controller": (*_CORE, "gjson", "kubernetes", "optuna", "psutil"),
    "collector": _CORE,
    "loop": _CORE,
    "summary": (*_CORE, "optuna", "plotly"),
    "report": (*_CORE, "gjson", "kubernetes", "optuna", "plotly"),
    "finish": ("kubernetes",),
}
"""Packages that each component imports; the algorithm's own come on top where it is asked."""

_ASKS = ("suggestion", "controller")
_FILTERS = ("start", "launcher", "collector", "controller")

_STOPPED = "the pipeline run is over"

_GROUP = "exit-handler-1"
_DISPLAY_NAMES = {_GROUP: "experiment", "for-loop-1": "trials"}


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline.

    Attributes:
        text: The file's text, the same for the same input, always and everywhere.
        warnings: What the user should know, a sentence each.
    """

    text: str
    warnings: tuple[str, ...]


def compile_experiment(
    experiment: Experiment,
    *,
    image: str | None = None,
    package: str | None = None,
    layout: str = "rounds",
    is_part: bool = False,
    source: str | None = None,
) -> Compiled:
    """Compiles an Experiment to a pipeline file for Kubeflow Pipelines v2.

    The run's parameters are texts with the Experiment's values as defaults: ``name``,
    ``parallelTrialCount``, ``maxTrialCount``, ``maxFailedTrialCount``, ``goal``, ``trialTimeout``
    and ``trialStartTimeout``; ``none`` takes the place of a number that the Experiment shall not
    have. ``resume`` names earlier runs whose trials count in this one: ``none``, ``all`` (which is
    the default unless the Experiment's resumePolicy is Never) or a run's id.

    Args:
        experiment: A checked Experiment.
        image: An image with katibflow in it, for all steps; nothing is embedded or installed.
        package: What pip is to install instead of the embedded library, ``katibflow==X``.
        layout: Which DAG: ``rounds``, or ``controller``, where one step runs all trials.
        is_part: Whether it is to be a component of another pipeline: then it has the outputs
            ``best_parameters`` and ``best_value``, and fails where there are none to hand on. Else
            they are those of `report`: ``best_parameters`` and ``result``.
        source: Where the Experiment comes from, for errors; by default its name.

    Raises:
        InputError: The layout cannot hold the experiment, there is no such layout, the trial
            template is kept in a ConfigMap that was not read, or checkpoints have no volume.
    """
    if layout not in LAYOUTS:
        raise InputError(f'layout: found "{layout}"; allowed: {", ".join(LAYOUTS)}')
    if image is not None and package is not None:
        raise InputError("--image and --package: found both; allowed: one of them")
    if experiment.spec.trial_template.trial_spec is None:
        raise InputError(
            "spec.trialTemplate: found no trialSpec; allowed: the template itself, as `finish` is "
            "told at once what kind of job it stops"
        )
    check_checkpoints(experiment, source)
    if layout == "rounds":
        check_rounds(experiment)
    dag = import_module(f"pipelines.{layout}")

    # With an image or a package the library is there already; an empty archive changes nothing.
    embeds = image is None and package is None
    pack = pack_library(Used.by(experiment, dag.COMPONENTS)) if embeds else pack_files({})
    parts = {
        name: _component(name, _packages(name, experiment, image, package), image)
        for name in dag.COMPONENTS
    }
    if is_part:
        parts["best"] = _component("best", (), image)
    if layout == "rounds":
        parts["next_round"] = _python_component(dag.next_round, (), None)
    spec, *platform = _documents(
        getattr(dag, layout)(
            parts,
            title=experiment.name,
            document=_document(experiment),
            defaults=parameters_of(experiment),
            job=_job(experiment),
        )
    )
    if layout == "rounds":
        spec = make_recursive(spec, component=dag.ROUND, task=dag.NEXT_ROUND, proceed=dag.PROCEED)
    spec = hand_on(spec, group=_GROUP, task="best" if is_part else "report")
    _carry(spec, pack)
    for key, task in dag_tasks(spec):
        task["taskInfo"]["name"] = _DISPLAY_NAMES.get(key, key)
    return Compiled(_text(spec, platform, experiment), tuple(_warnings(experiment, layout)))


def _packages(
    name: str, experiment: Experiment, image: str | None, package: str | None
) -> Sequence[str]:
    if image is not None:
        return ()
    wanted = dict.fromkeys(_PACKAGES[name])
    spec = experiment.spec
    stopping = spec.early_stopping.algorithm_name if spec.early_stopping is not None else ""
    if name != "finish" and ":" in spec.algorithm.algorithm_name + stopping:
        # Optuna's own classes say what their settings are, wherever the Experiment is read.
        wanted["optuna"] = None
    if name in _ASKS:
        wanted.update(dict.fromkeys(algorithm_of(spec.algorithm).packages))
    source = spec.metrics_collector_spec.source
    if name in _FILTERS and source is not None and source.filter is not None:
        wanted["google-re2"] = None
    pinned = [_VERSIONS.get(each, each) for each in wanted]
    return (*pinned, package) if package is not None and name != "finish" else pinned


def _component(name: str, packages: Sequence[str], image: str | None) -> Callable[..., Any]:
    function = getattr(import_module(f"components.{name}"), name)
    return _python_component(function, packages, image)


def _python_component(
    function: Callable[..., Any], packages: Sequence[str], image: str | None
) -> Callable[..., Any]:
    from kfp import dsl  # type: ignore[import-untyped]

    component: Callable[..., Any] = dsl.component(
        function,
        base_image=image or BASE_IMAGE,
        packages_to_install=list(packages),
        install_kfp_package=image is None,
    )
    return component


def _documents(pipeline: Any) -> list[dict[str, Any]]:
    """The compiled pipeline: its spec, and what is said of the platform."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder, python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def _document(experiment: Experiment) -> str:
    """The Experiment as JSON that Argo and KFP find no placeholder in.

    Two braces can only follow each other inside a string, where JSON lets them be written so.
    """
    text = json.dumps(experiment.document(), ensure_ascii=False, separators=(",", ":"))
    return text.replace("{{", "{\\u007b")


def _job(experiment: Experiment) -> dict[str, str]:
    kind = kind_of(experiment.spec.trial_template.trial_spec or {})
    return {
        "group": kind.group,
        "version": kind.api_version.rpartition("/")[2],
        "plural": kind.plural,
        "stop": json.dumps(stop_patch(kind, _STOPPED)) if kind.stop else "",
    }


def _carry(spec: Mapping[str, Any], pack: str) -> None:
    """Puts the packed library into the source of `start`."""
    from components.start import PACK

    command = spec["deploymentSpec"]["executors"]["exec-start"]["container"]["command"]
    command[-1] = command[-1].replace(PACK, pack)


def _warnings(experiment: Experiment, layout: str) -> list[str]:
    most = experiment.spec.max_trial_count
    if layout != "rounds":
        return []
    if most is None:
        return [
            f"spec.maxTrialCount is missing: the run ends after {MAX_ROUNDS} rounds at the latest, "
            f"which is {MAX_ROUNDS * experiment.spec.parallelism} trials; --layout controller "
            "has no such end"
        ]
    if most > MANY_TRIALS:
        return [
            f"spec.maxTrialCount: {most} trials; above {MANY_TRIALS} the layout rounds may outgrow "
            "what Argo keeps of a run (1 MB, and each trial takes 5 KB); take --layout controller"
        ]
    return []


def _text(
    spec: Mapping[str, Any], platform: Sequence[Mapping[str, Any]], experiment: Experiment
) -> str:
    head = [f"# Experiment {experiment.name}, compiled by katibflow. Run parameters:"]
    head += [f"#   {name}: {value}" for name, value in parameters_of(experiment).items()]
    documents = [yaml.safe_dump(part, sort_keys=True, width=100) for part in (spec, *platform)]
    return "\n".join(head) + "\n" + "---\n".join(documents)
