"""The objects that a Workflow can be kept in, and what differs between the versions of Argo."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from katibflow.errors import InputError

if TYPE_CHECKING:
    from katibflow.compiler.argo.models import models as m

__all__ = [
    "API",
    "EXPERIMENT_LABEL",
    "LAYOUT_LABEL",
    "NEWEST",
    "VERSIONS",
    "Kind",
    "check_version",
    "kept_in",
]

API = "argoproj.io/v1alpha1"
"""The API's group and version of all objects of Argo's."""

EXPERIMENT_LABEL = "katibflow/experiment"
LAYOUT_LABEL = "katibflow/layout"
"""Labels of every Workflow of ours: the Experiment's name as the run has it, and the layout."""


class Kind(StrEnum):
    """The object of a compiled file: one that runs at once, one to run from, or a schedule."""

    WORKFLOWTEMPLATE = "workflowtemplate"
    WORKFLOW = "workflow"
    CRONWORKFLOW = "cronworkflow"


VERSIONS = ("3.5", "3.6", "3.7", "4.0")
"""The minor versions of Argo Workflows that compiled files are for."""

NEWEST = VERSIONS[-1]

_TIMEZONE = "UTC"
"""The time zone of schedules, which is otherwise that of Argo's controller."""

_ONE_SCHEDULE = ("3.5",)
"""Versions whose CronWorkflow has ``schedule``, a text; later ones have ``schedules``, a list."""


def check_version(version: str) -> None:
    """Checks that files are compiled for a version of Argo.

    Raises:
        InputError: They are not.
    """
    if version not in VERSIONS:
        raise InputError(f'--argo-version: found "{version}"; allowed: {", ".join(VERSIONS)}')


def kept_in(
    kind: Kind,
    spec: m.WorkflowSpec,
    *,
    name: str,
    namespace: str | None,
    labels: dict[str, str],
    schedule: str | None = None,
    version: str = NEWEST,
) -> dict[str, Any]:
    """Returns the object with a Workflow's spec, as data under the API's names.

    Args:
        kind: The object's kind.
        spec: The Workflow's spec.
        name: The Experiment's name. A Workflow's own name has random letters after it.
        namespace: The object's namespace; None for that of the user who creates it.
        labels: The object's labels.
        schedule: When a CronWorkflow starts, as five fields of cron.
        version: A version of Argo, one of `VERSIONS`.
    """
    from katibflow.compiler.argo.models import models as m

    made: Any
    if kind is Kind.WORKFLOW:
        metadata = m.ObjectMeta(generate_name=f"{name}-", namespace=namespace, labels=labels)
        made = m.Workflow(api_version=API, kind="Workflow", metadata=metadata, spec=spec)
    else:
        metadata = m.ObjectMeta(name=name, namespace=namespace, labels=labels)
        if kind is Kind.WORKFLOWTEMPLATE:
            made = m.WorkflowTemplate(
                api_version=API, kind="WorkflowTemplate", metadata=metadata, spec=spec
            )
        else:
            cron = m.CronWorkflowSpec(
                schedules=[schedule or ""],
                timezone=_TIMEZONE,
                concurrency_policy="Forbid",
                workflow_spec=spec,
            )
            made = m.CronWorkflow(
                api_version=API, kind="CronWorkflow", metadata=metadata, spec=cron
            )
    data: dict[str, Any] = made.model_dump(by_alias=True, exclude_none=True)
    if kind is Kind.CRONWORKFLOW and version in _ONE_SCHEDULE:
        (data["spec"]["schedule"],) = data["spec"].pop("schedules")
    return data
