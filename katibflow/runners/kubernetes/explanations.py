"""What an error of the API server means for trials, and what would allow the request."""

from __future__ import annotations

from katibflow.experiment.job_kinds import JobKind
from katibflow.runners.kubernetes.api import Api, ApiError
from katibflow.runners.kubernetes.rbac import missing_role
from katibflow.runners.kubernetes.refusals import Refusal, refusal

__all__ = ["explained"]

_OPERATORS = {
    "kubeflow.org": "the Kubeflow Training Operator",
    "trainer.kubeflow.org": "Kubeflow Trainer",
    "ray.io": "the KubeRay operator",
    "argoproj.io": "Argo Workflows",
}


def explained(error: ApiError, kind: JobKind, api: Api) -> str:
    """Returns what an error means; asks the server which rules the account has.

    Args:
        error: The server's refusal.
        kind: The kind of the trials' jobs.
        api: Requests in the namespace of the jobs.
    """
    by = refusal(error.asked.verb, error.status, error.details) if error.asked else Refusal.NONE
    lacks_rule = by in (Refusal.ACCESS, Refusal.UNCLEAR)
    if error.asked and lacks_rule and api.may(error.asked) is not True:
        role = missing_role(kind, api.namespace, error.asked, api.account())
        return f"{error}\nApply this in the cluster:\n{role}"
    if by is Refusal.WEBHOOK:
        return f"a webhook of the cluster refuses the {kind.kind} of trialSpec: {error}"
    if error.status == 404 and not error.reason:  # the API has no such path
        return _missing_kind(kind, error)
    return f"trials cannot run in namespace {api.namespace}: {error}"


def _missing_kind(kind: JobKind, error: ApiError) -> str:
    crd = f"{kind.plural}.{kind.group}"
    operator = _OPERATORS.get(kind.group, "whatever brings it")
    return (
        f"the cluster does not know {kind.kind} ({kind.api_version}): {error}. "
        f"Its CustomResourceDefinition {crd} is missing: install {operator}, then "
        f"`kubectl get crd {crd}` shows it"
    )
