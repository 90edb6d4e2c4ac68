"""Compiles an Experiment to the text of one pipeline file, with KFP's compiler."""

from __future__ import annotations

import json
import re
import tempfile
import warnings as python_warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from katibflow import tracking
from katibflow.compiler.commands import carried_command, own_command
from katibflow.compiler.ir import (
    dag_tasks,
    for_executors,
    hand_on,
    make_recursive,
    merge_twins,
    without_versions,
)
from katibflow.compiler.layouts import AUTO, Choice, choose_layout
from katibflow.compiler.library import CARRIED, LOADERS, Pack, pack_library
from katibflow.compiler.requirements import AT_THE_END, KFP, names_of, packages_of
from katibflow.compiler.run_inputs import with_inputs, with_inputs_in_source
from katibflow.errors import InputError
from katibflow.experiment.job_kinds import kind_of
from katibflow.experiment.types import Experiment
from katibflow.extras import require
from katibflow.runners.kubernetes.checkpoints import check_checkpoints
from katibflow.steps.capacity import KFP as KFP_GROWTH
from katibflow.steps.capacity import Capacity, Growth
from katibflow.steps.installing import pinned, pins
from katibflow.steps.leaving import document_mark
from katibflow.steps.run_parameters import parameters_of

__all__ = [
    "BASE_IMAGE",
    "Compiled",
    "check_sources",
    "compile_experiment",
    "document_text",
    "layout_warnings",
]

BASE_IMAGE = "@".join(text for text in (pins()["image"], pins()["digest"]) if text)
"""The steps' image, if no other is given; by its digest where that is known."""

_STUDY = {"collector": "before"}
"""Name of the input that is the study, for components whose output is named ``study``."""

_REPLACED = re.compile(r"\$(?=[$(]|[^\x00-\x7f])")

_GROUP = "exit-handler-1"
_DISPLAY_NAMES = {_GROUP: "experiment", "for-loop-1": "trials", "next": "next-round"}


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline.

    Attributes:
        text: The file's text; the same input always gives the same text.
        layout: The DAG: ``rounds`` or ``controller``.
        why: Why it has that layout, in a sentence.
        warnings: Warnings for the user, a sentence each.
    """

    text: str
    layout: str
    why: str
    warnings: tuple[str, ...]


def compile_experiment(
    experiment: Experiment,
    *,
    image: str | None = None,
    package: str | None = None,
    layout: str = AUTO,
    is_part: bool = False,
    source: str | None = None,
    run_as: Experiment | None = None,
    copies: int | None = 1,
) -> Compiled:
    """Compiles an Experiment to a pipeline file for Kubeflow Pipelines v2.

    The pipeline has the parameters of `katibflow.steps.run_parameters`, as texts, with the
    Experiment's values as defaults.

    Args:
        experiment: A checked Experiment.
        image: An image with katibflow for all steps; then nothing is embedded or installed.
        package: A release for pip to install, as ``katibflow==X``, in place of the embedded
            library.
        layout: The DAG: ``rounds``, a step for each trial; ``controller``, one step for all; or
            ``auto`` (`layouts.choose_layout`).
        is_part: Whether the pipeline is a component of another one. Then its outputs are
            ``best_parameters`` and ``best_value``, and it fails without a best trial; otherwise
            its outputs are those of `report`, ``best_parameters`` and ``result``.
        source: The name of the Experiment's origin, for errors; by default the Experiment's name.
        run_as: The Experiment with a run's parameters, for which the layout is chosen and the
            warnings hold; by default ``experiment``.
        copies: How often a part is in its pipeline, as in a loop; None if only the run knows.

    Raises:
        MissingPackage: KFP's SDK is not installed.
        InputError: The layout cannot hold the experiment, there is no such layout, the trial
            template is kept in a ConfigMap that was not read, checkpoints have no volume, or the
            Experiment names a tracker.
    """
    check_sources(experiment, image, package, source)
    # With an image or a package the library is there already.
    pack = pack_library() if image is None and package is None else None
    choice = choose_layout(
        experiment,
        layout,
        library=len(pack.text) if pack is not None else 0,
        is_part=is_part,
        source=source,
        run_as=run_as,
        copies=copies,
    )
    require("kfp", "katibflow compile")
    dag = import_module(f"katibflow.pipelines.{choice.layout}")
    names = [*dag.COMPONENTS]
    names += ["library"] if pack is not None else []
    names += ["best"] if is_part else []
    defaults = parameters_of(experiment)
    parts = {
        name: _component(import_module(f"katibflow.components.{name}"), name, image, [*defaults])
        for name in names
    }
    if choice.layout == "rounds":
        parts[dag.NEXT_ROUND] = _component(dag, dag.NEXT_ROUND, image, ())
    spec, *platform = _documents(
        getattr(dag, choice.layout)(
            parts,
            title=experiment.name,
            document=document_text(experiment),
            defaults=defaults,
            job=_job(experiment, packages=image is None),
            library=pack.mark if pack is not None else "",
            room=choice.room,
        )
    )
    spec["sdkVersion"] = KFP.replace("==", "-")
    spec = merge_twins(without_versions(spec))
    if choice.layout == "rounds":
        spec = make_recursive(spec, component=dag.ROUND, task=dag.NEXT_ROUND, proceed=dag.PROCEED)
    spec = hand_on(spec, group=_GROUP, task="best" if is_part else dag.RESULTS)
    kfp = pinned(["kfp"])[0] if image is None else ""
    for name in names:
        container = spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]
        packages = packages_of(name, experiment, package) if image is None else ()
        if pack is not None:
            packages = names_of(packages)
        container["command"] = (
            carried_command(name, _STUDY.get(name, "study"), packages, kfp, pack is not None)
            if name in CARRIED
            else own_command(
                with_inputs_in_source(container["command"][-1], [*defaults]),
                packages,
                kfp,
                loads_library=name in LOADERS,
                is_packed=pack is not None and name in LOADERS,
            )
        )
    if pack is not None:
        _carry(spec, pack)
    for key, task in dag_tasks(spec):
        task["taskInfo"]["name"] = _DISPLAY_NAMES.get(key, task["taskInfo"]["name"])
    return Compiled(
        _text(spec, [for_executors(each, spec) for each in platform], experiment.name, defaults),
        choice.layout,
        choice.why,
        tuple(layout_warnings(run_as or experiment, choice)),
    )


def check_sources(
    experiment: Experiment, image: str | None, package: str | None, source: str | None
) -> None:
    """Checks where the steps get the library from, and that trials can run in a cluster.

    Raises:
        InputError: Image or package is no name, or both are given; or the Experiment has no
            trialSpec, checkpoints without a volume, or a tracker.
    """
    for option, given in (("--image", image), ("--package", package)):
        if given is not None and (not given.strip() or "{{" in given):
            raise InputError(f'{option}: found "{given}"; allowed: a name, without {{{{')
    if image is not None and package is not None:
        raise InputError("--image and --package: found both; allowed: one of them")
    if experiment.spec.trial_template.trial_spec is None:
        raise InputError(
            "spec.trialTemplate: found no trialSpec; allowed: the template itself, as `finish` is "
            "told at once what kind of job it stops"
        )
    check_checkpoints(experiment, source)
    tracking.check_compiled(experiment, source)


def _component(
    module: Any, name: str, image: str | None, parameters: Sequence[str]
) -> Callable[..., Any]:
    from kfp import dsl  # type: ignore[import-untyped]

    function = with_inputs(getattr(module, name), parameters)
    component: Callable[..., Any] = dsl.component(
        function, base_image=image or BASE_IMAGE, install_kfp_package=False
    )
    return component


def _documents(pipeline: Any) -> list[dict[str, Any]]:
    """Returns the YAML documents of the compiled pipeline: its spec, and KFP's platform spec."""
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder, python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        path = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def document_text(experiment: Experiment) -> str:
    """Returns the Experiment as JSON in which Argo, KFP and Kubernetes find nothing to replace.

    They replace text after two braces, and after a dollar sign before another or a bracket. In JSON
    both occur only inside strings, where they can be written as escapes.
    """
    text = json.dumps(experiment.document(), ensure_ascii=False, separators=(",", ":"))
    return _REPLACED.sub("\\\\u0024", text.replace("{{", "{\\u007b"))


def _job(experiment: Experiment, *, packages: bool) -> dict[str, str]:
    """Returns the inputs of `finish` alone.

    Args:
        experiment: The experiment.
        packages: Whether `finish` installs packages.
    """
    template = experiment.spec.trial_template
    spec = template.trial_spec or {}
    job = {
        "trialSpec": {"apiVersion": kind_of(spec).api_version, "kind": kind_of(spec).kind},
        "successCondition": template.success_condition,
        "failureCondition": template.failure_condition,
    }
    return {
        "document": document_mark(document_text(experiment)),
        "job": json.dumps({key: value for key, value in job.items() if value is not None}),
        "packages": " ".join(AT_THE_END) if packages else "",
    }


def _carry(spec: Mapping[str, Any], pack: Pack) -> None:
    """Puts the packed library into the source of the component `library`."""
    from katibflow.components.library import PACK

    container = spec["deploymentSpec"]["executors"]["exec-library"]["container"]
    source = container["command"][-1]
    container["command"] = [source.replace(f"'{PACK}'", f'"{pack.mark}:{pack.text}"')]


def layout_warnings(
    experiment: Experiment, choice: Choice, growth: Growth = KFP_GROWTH
) -> list[str]:
    """Returns warnings about what the layout means for an experiment, a sentence each.

    Args:
        experiment: The Experiment with the run's parameters.
        choice: The layout that was chosen.
        growth: How the engine's object grows.
    """
    if choice.layout != "rounds" or experiment.spec.max_trial_count is not None:
        return []
    parallel = experiment.spec.parallelism
    rounds = Capacity.of(experiment, growth=growth).most_rounds(parallel, choice.room)
    return [
        f"spec.maxTrialCount is missing: the run ends after {rounds} rounds at the latest, which "
        f"is {rounds * parallel} trials; --layout controller has no such end"
    ]


def _text(
    spec: Mapping[str, Any],
    platform: Sequence[Mapping[str, Any]],
    name: str,
    defaults: Mapping[str, str],
) -> str:
    head = [f"# Experiment {name}, compiled by katibflow. Run parameters:"]
    head += [f"#   {name}: {value.strip()}" for name, value in defaults.items()]
    documents = [yaml.safe_dump(part, sort_keys=True, width=100) for part in (spec, *platform)]
    return "\n".join(head) + "\n" + "---\n".join(documents)
