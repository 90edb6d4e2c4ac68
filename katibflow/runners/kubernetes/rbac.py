"""The RBAC Roles with the least rules that the Kubernetes runner needs for a kind of trial."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from katibflow.experiment.job_kinds import KINDS, JobKind
from katibflow.runners.kubernetes.api import Asked
from katibflow.runners.kubernetes.workloads import GROUP, PLURAL

__all__ = [
    "EVENT_RULE",
    "JOB_VERBS",
    "PAGE_RULE",
    "POD_RULES",
    "QUEUE_VERBS",
    "RECORD_RULE",
    "STEP_RULES",
    "missing_role",
    "pages_role",
    "queue_role",
    "records_role",
    "role",
    "shipped_roles",
    "steps_role",
]

JOB_VERBS = ("create", "delete", "get", "list", "patch", "watch")
"""The verbs that the runner uses on jobs."""

POD_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("pods", ("delete", "deletecollection", "list", "watch")),
    ("pods/log", ("get",)),
)
"""The rules that the runner needs for the pods of any job."""

EVENT_RULE = ("events", ("list", "watch"))
"""The rule by which the runner says why a trial is stuck; it runs trials without it."""

PAGE_RULE = ("pods/proxy", ("get",))
"""The rule that the runner needs to read a trial's page, for the collector PrometheusMetric."""

QUEUE_VERBS = ("list", "patch")
"""The verbs that the runner needs on Kueue's Workloads, to stop jobs that are in a queue."""

RECORD_RULE = ("configmaps", ("create", "get", "list", "patch"))
"""The rule that the runner needs to keep records of trials whose finished jobs are deleted."""

STEP_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("workflows", ("get",)),
    ("workflowtaskresults", ("create", "patch")),
)
"""The rules for the pods of an Argo Workflow: they read it, and Argo's part tells results."""

_PAGES = "katibflow-metrics-pages"
_RECORDS = "katibflow-records"
_ACCOUNT = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")
"""The user name of a service account, as Kubernetes defines it."""


def role(kinds: Iterable[JobKind], name: str) -> dict[str, Any]:
    """Returns a Role with the least rules for trials of ``kinds``."""
    rules = _core_rules([*POD_RULES, EVENT_RULE])
    rules += [
        {"apiGroups": [kind.group], "resources": [kind.plural], "verbs": list(JOB_VERBS)}
        for kind in kinds
    ]
    return _role(name, rules)


def pages_role() -> dict[str, Any]:
    """Returns a Role with only `PAGE_RULE`."""
    return _role(_PAGES, _core_rules([PAGE_RULE]))


def queue_role() -> dict[str, Any]:
    """Returns a Role with only `QUEUE_VERBS`."""
    rule = {"apiGroups": [GROUP], "resources": [PLURAL], "verbs": list(QUEUE_VERBS)}
    return _role("katibflow-workloads", [rule])


def records_role() -> dict[str, Any]:
    """Returns a Role with only `RECORD_RULE`."""
    return _role(_RECORDS, _core_rules([RECORD_RULE]))


def steps_role() -> dict[str, Any]:
    """Returns a Role with only `STEP_RULES`."""
    rules = [
        {"apiGroups": ["argoproj.io"], "resources": [resource], "verbs": list(verbs)}
        for resource, verbs in STEP_RULES
    ]
    return _role("katibflow-argo-steps", rules)


def _core_rules(rules: Iterable[tuple[str, tuple[str, ...]]]) -> list[dict[str, Any]]:
    return [
        {"apiGroups": [""], "resources": [resource], "verbs": list(verbs)}
        for resource, verbs in rules
    ]


def _role(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name},
        "rules": rules,
    }


def shipped_roles() -> str:
    """Returns the text of ``deploy/role.yaml``: a Role for every known kind."""
    kinds = {(kind.group, kind.plural): kind for kind in KINDS.values()}  # whatever its versions
    documents = [role([kind], f"katibflow-{kind.plural}") for kind in kinds.values()]
    documents += [pages_role(), records_role(), queue_role(), steps_role()]
    return _HEADER + yaml.safe_dump_all(documents, sort_keys=False)


_HEADER = """\
# Made by `python -m katibflow.runners.kubernetes.rbac > deploy/role.yaml`.
# One Role for each kind of trial, with the least that katibflow needs. Apply the one for your
# trials in their namespace and bind it to the service account of the pipeline's steps:
#   kubectl apply -n NAMESPACE -f deploy/role.yaml
#   kubectl create rolebinding katibflow -n NAMESPACE --role=katibflow-pytorchjobs \\
#     --serviceaccount=NAMESPACE:pipeline-runner
# The collector PrometheusMetric needs katibflow-metrics-pages too: with `get` on pods/proxy one can
# ask any port of a pod in the namespace.
# A trialSpec with ttlSecondsAfterFinished needs katibflow-records too: the records of its trials
# are ConfigMaps.
# The steps of an Argo Workflow (`katibflow compile --target argo`) need katibflow-argo-steps too.
# The role of Kubeflow Pipelines' own pipeline-runner covers the kubeflow.org kinds and Job already,
# but not events: without them trials run, and some that are stuck say less about why.
# Trials in a queue of Kueue's need katibflow-workloads too: without it their jobs are deleted to
# stop them.
"""


def missing_role(kind: JobKind, namespace: str, asked: Asked, account: str) -> str:
    """Returns the YAML to apply after the API server's 403.

    Args:
        kind: The kind of the trials.
        namespace: Namespace of the trials.
        asked: The request that the server refused.
        account: The account as the server knows it; a service account is bound to the role.
    """
    resource = "/".join(filter(None, (asked.resource, asked.subresource)))
    apart = {PAGE_RULE[0]: pages_role, RECORD_RULE[0]: records_role}.get(resource)
    needed = apart() if apart else role([kind], f"katibflow-{kind.plural}")
    name = needed["metadata"]["name"]
    documents = [needed]
    service = _ACCOUNT.fullmatch(account)
    if service:
        documents.append(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": name},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": name,
                },
                "subjects": [
                    {"kind": "ServiceAccount", "namespace": service[1], "name": service[2]}
                ],
            }
        )
    for document in documents:
        document["metadata"]["namespace"] = namespace
    return yaml.safe_dump_all(documents, sort_keys=False)


if __name__ == "__main__":
    print(shipped_roles(), end="")
