"""Compiles an Experiment to the text of one file for Argo Workflows alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from katibflow.compiler.argo.objects import (
    EXPERIMENT_LABEL,
    LAYOUT_LABEL,
    NEWEST,
    Kind,
    check_version,
    kept_in,
)
from katibflow.compiler.emit import (
    BASE_IMAGE,
    Compiled,
    check_sources,
    document_text,
    layout_warnings,
)
from katibflow.compiler.layouts import AUTO, Choice, choose_layout
from katibflow.compiler.library import Pack, pack_library
from katibflow.compiler.requirements import AT_THE_END, VERSIONS, names_of, packages_of
from katibflow.errors import InputError
from katibflow.experiment.types import Experiment
from katibflow.extras import require
from katibflow.steps.capacity import ARGO
from katibflow.steps.run_parameters import RUN_PARAMETERS

if TYPE_CHECKING:
    from katibflow.compiler.argo.models import models as m
    from katibflow.compiler.argo.pods import Pods

__all__ = ["ArgoOptions", "CompiledWorkflow", "compile_workflow", "workflow_object"]

_TASKS = "katibflow.steps.workflow_tasks"

_DAY = 24 * 60 * 60


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that a person can read the steps' programs."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


@dataclass(frozen=True)
class ArgoOptions:
    """What a user says of the file beside the Experiment.

    Attributes:
        kind: The object; None for a CronWorkflow with a schedule, else a WorkflowTemplate.
        schedule: When a CronWorkflow starts, as five fields of cron or a word as ``@daily``.
        service_account: The service account of the pods; None for the namespace's default.
        has_artifacts: Whether an artifact repository is configured, so that the report, the study
            and the trials' logs are kept there.
        version: The version of Argo, one of `objects.VERSIONS`.
        namespace: The object's namespace; None for the Experiment's, or without one the user's.
    """

    kind: Kind | None = None
    schedule: str | None = None
    service_account: str | None = None
    has_artifacts: bool = False
    version: str = NEWEST
    namespace: str | None = None

    @property
    def object_kind(self) -> Kind:
        """The object's kind.

        Raises:
            InputError: The kind and the schedule do not go together.
        """
        if self.kind not in (None, Kind.CRONWORKFLOW) and self.schedule is not None:
            raise InputError(
                f"--schedule: found {self.schedule} with --as {self.kind}; allowed: --as "
                f"{Kind.CRONWORKFLOW}"
            )
        if self.kind is Kind.CRONWORKFLOW and self.schedule is None:
            raise InputError(f'--as {self.kind}: found no --schedule; allowed: one, as "0 3 * * *"')
        is_word = self.schedule is not None and self.schedule.startswith("@")
        if self.schedule is not None and not is_word and len(self.schedule.split()) != 5:
            raise InputError(
                f'--schedule: found "{self.schedule}"; allowed: five fields (minute, hour, day, '
                'month, weekday), as "0 3 * * *"'
            )
        return self.kind or (Kind.CRONWORKFLOW if self.schedule else Kind.WORKFLOWTEMPLATE)


@dataclass(frozen=True)
class CompiledWorkflow:
    """A compiled object of Argo's.

    Attributes:
        body: The object as data, under the API's names.
        layout: ``rounds`` or ``controller``.
        why: Why it has that layout, in a sentence.
        warnings: Warnings for the user, a sentence each.
    """

    body: dict[str, Any]
    layout: str
    why: str
    warnings: tuple[str, ...]


def compile_workflow(
    experiment: Experiment,
    options: ArgoOptions,
    *,
    image: str | None = None,
    package: str | None = None,
    layout: str = AUTO,
    source: str | None = None,
) -> Compiled:
    """Compiles an Experiment to a file for Argo Workflows, which needs nothing but what is in it.

    The arguments are those of `workflow_object`.

    Raises:
        MissingPackage: hera is not installed.
        InputError: An option is wrong, or the layout cannot hold the experiment.
    """
    made = workflow_object(
        experiment, options, image=image, package=package, layout=layout, source=source
    )
    text = f"# Experiment {experiment.name}, compiled by katibflow for Argo Workflows\n"
    text += yaml.dump(made.body, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)
    return Compiled(text, made.layout, made.why, made.warnings)


def workflow_object(
    experiment: Experiment,
    options: ArgoOptions,
    *,
    image: str | None = None,
    package: str | None = None,
    layout: str = AUTO,
    source: str | None = None,
    run_as: Experiment | None = None,
    given: Mapping[str, str] | None = None,
) -> CompiledWorkflow:
    """Compiles an Experiment to an object of Argo's, as data.

    The Workflow has the parameters of `katibflow.steps.run_parameters`, with the Experiment's
    values unless others are given.

    Args:
        experiment: A checked Experiment.
        options: What the user says beside the Experiment.
        image: As of `compiler.emit.compile_experiment`, like the next three.
        package: See there.
        layout: See there.
        source: See there.
        run_as: The Experiment with the values that are given, of which the object has its name,
            and for which the layout is chosen; by default ``experiment``.
        given: Values of parameters in place of the Experiment's, by name.

    Raises:
        MissingPackage: hera is not installed.
        InputError: An option is wrong, or the layout cannot hold the experiment.
    """
    require("argo", "a Workflow for Argo")
    check_version(options.version)
    kind = options.object_kind
    check_sources(experiment, image, package, source)
    pack = pack_library(_TASKS) if image is None and package is None else None
    choice = choose_layout(
        experiment,
        layout,
        library=len(pack.text) if pack is not None else 0,
        is_part=False,
        source=source,
        run_as=run_as,
        growth=ARGO,
    )

    def packages(step: str, *more: str) -> Sequence[str]:
        if image is not None:
            return ()
        # Every step reads its own Workflow, and the study from the trials' jobs.
        more = tuple(VERSIONS[each] for each in ("kubernetes", *more))
        named = tuple(dict.fromkeys((*packages_of(step, experiment, package), *more)))
        return named if pack is None else names_of(named)

    spec = _spec(experiment, options, image or BASE_IMAGE, choice, packages, pack, given or {})
    body = kept_in(
        kind,
        spec,
        name=(run_as or experiment).name,
        namespace=options.namespace or experiment.metadata.namespace,
        labels={LAYOUT_LABEL: choice.layout},
        schedule=options.schedule,
        version=options.version,
    )
    warnings = tuple(layout_warnings(run_as or experiment, choice, ARGO))
    return CompiledWorkflow(body, choice.layout, choice.why, warnings)


def _spec(
    experiment: Experiment,
    options: ArgoOptions,
    image: str,
    choice: Choice,
    packages: Callable[..., Sequence[str]],
    pack: Pack | None,
    given: Mapping[str, str],
) -> m.WorkflowSpec:
    from katibflow.compiler.argo.models import models as m
    from katibflow.compiler.argo.pods import Pods, carried, executor_patch, pod_security

    pods = Pods(image, options.has_artifacts, pack is not None)
    entry, templates = (_rounds if choice.layout == "rounds" else _controller)(pods, packages)
    finish = pods.template(
        "finish",
        outputs=("best", "result", "summary"),
        artifacts=(("report", "report.html"), ("study", "study.jsonl")),
        packages=packages("finish", *(AT_THE_END if options.has_artifacts else ())),
    )
    settings = {
        "layout": choice.layout,
        "library": pack.mark if pack is not None else "",
        "room": choice.room,
        "hasPage": options.has_artifacts,
    }
    texts = {"experiment": document_text(experiment), "settings": json.dumps(settings)}
    if pack is not None:
        texts["library"] = pack.text
    return m.WorkflowSpec(
        entrypoint=entry,
        on_exit=finish.name,
        service_account_name=options.service_account,
        arguments=m.Arguments(
            parameters=[
                m.Parameter(
                    name=each.name,
                    value=given.get(each.name, each.default(experiment)),
                    description=each.meaning,
                )
                for each in RUN_PARAMETERS
            ],
            artifacts=carried(**texts),
        ),
        # Pods that failed stay, with their logs, until the Workflow goes.
        pod_gc=m.PodGC(strategy="OnPodSuccess", delete_delay_duration="600s"),
        ttl_strategy=m.TTLStrategy(seconds_after_success=7 * _DAY, seconds_after_failure=30 * _DAY),
        security_context=pod_security(),
        pod_spec_patch=executor_patch(),
        # Argo puts these on each Workflow, whatever it is made from.
        workflow_metadata=m.WorkflowMetadata(
            labels={LAYOUT_LABEL: choice.layout},
            labels_from={EXPERIMENT_LABEL: m.LabelValueFrom(expression="workflow.parameters.name")},
        ),
        templates=[*templates, finish],
    )


def _controller(pods: Pods, packages: Callable[..., Sequence[str]]) -> tuple[str, list[m.Template]]:
    """Returns the layout `controller`: the entrypoint, and its one template."""
    controller = pods.template(
        "controller",
        outputs=["reason"],
        artifacts=[("logs", "logs")],
        packages=packages("controller"),
        follows_jobs=True,
    )
    return "controller", [controller]


def _rounds(pods: Pods, packages: Callable[..., Sequence[str]]) -> tuple[str, list[m.Template]]:
    """Returns the layout `rounds`: the entrypoint, and templates, of which `round` calls itself."""
    from katibflow.compiler.argo.models import models as m

    def step(name: str, template: str, arguments: dict[str, str], **more: Any) -> m.WorkflowStep:
        given = [m.Parameter(name=key, value=value) for key, value in arguments.items()]
        return m.WorkflowStep(
            name=name, template=template, arguments=m.Arguments(parameters=given), **more
        )

    def in_turn(*steps: m.WorkflowStep) -> Any:
        return [m.ParallelSteps(root=[each]) for each in steps]

    rounds = {"rounds": "{{inputs.parameters.rounds}}"}
    trial = {**rounds, "trial": "{{item}}"}
    batch = "{{steps.suggestion.outputs.parameters.batch}}"
    proceed = "{{steps.decision.outputs.parameters.proceed}} == true"
    after = {"rounds": "{{steps.decision.outputs.parameters.rounds}}"}
    return "experiment", [
        m.Template(
            name="experiment",
            steps=in_turn(step("start", "start", {}), step("round", "round", {"rounds": "0"})),
        ),
        m.Template(
            name="round",
            inputs=m.Inputs(parameters=[m.Parameter(name="rounds")]),
            steps=in_turn(
                step("suggestion", "suggestion", rounds),
                step("launcher", "launcher", trial, with_param=batch),
                step("decision", "decision", rounds),
                step("next-round", "round", after, when=proceed),
            ),
        ),
        pods.template("start", packages=packages("start")),
        pods.template("suggestion", ["rounds"], ["batch"], packages=packages("suggestion")),
        pods.template(
            "launcher",
            ["rounds", "trial"],
            ["outcome"],
            [("log", "log.txt")],
            packages=packages("launcher"),
            follows_jobs=True,
        ),
        pods.template(
            "decision", ["rounds"], ["proceed", "rounds", "reason"], packages=packages("loop")
        ),
    ]
