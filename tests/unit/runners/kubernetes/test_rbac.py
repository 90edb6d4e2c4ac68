"""Tests the RBAC Roles: the shipped ones, and those in messages."""

from __future__ import annotations

import yaml

from katibflow.experiment.job_kinds import KINDS
from katibflow.runners.kubernetes.api import Asked
from katibflow.runners.kubernetes.rbac import (
    missing_role,
    pages_role,
    queue_role,
    records_role,
    role,
    shipped_roles,
    steps_role,
)
from tests.paths import ROOT

SHIPPED = ROOT / "deploy" / "role.yaml"


def test_the_shipped_roles_are_those_of_the_kinds() -> None:
    """After a change: python -m katibflow.runners.kubernetes.rbac > deploy/role.yaml."""
    assert SHIPPED.read_text() == shipped_roles()
    documents = list(yaml.safe_load_all(SHIPPED.read_text()))
    resources = {(kind.group, kind.plural): kind for kind in KINDS.values()}
    kinds = [role([kind], f"katibflow-{kind.plural}") for kind in resources.values()]
    assert documents == [*kinds, pages_role(), records_role(), queue_role(), steps_role()]


def test_a_role_has_no_wildcard_and_no_secrets() -> None:
    for document in yaml.safe_load_all(shipped_roles()):
        assert document["kind"] == "Role"
        for rule in document["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            assert "secrets" not in rule["resources"]
            if document != records_role():  # which only a lifetime of jobs needs
                assert "configmaps" not in rule["resources"]


def test_a_missing_role_is_bound_to_the_account_that_the_server_names() -> None:
    (kind,) = (kind for kind in KINDS.values() if kind.kind == "TFJob")
    asked, account = (
        Asked("create", "kubeflow.org", "tfjobs"),
        "system:serviceaccount:team-a:runner",
    )
    granted, binding = yaml.safe_load_all(missing_role(kind, "team-a", asked, account))
    assert granted["rules"] == role([kind], "x")["rules"]
    assert binding["roleRef"]["name"] == granted["metadata"]["name"] == "katibflow-tfjobs"
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "namespace": "team-a", "name": "runner"}
    ]
    assert granted["metadata"]["namespace"] == binding["metadata"]["namespace"] == "team-a"


def test_without_leave_for_pages_only_that_is_granted() -> None:
    (kind,) = (kind for kind in KINDS.values() if kind.kind == "Job")
    asked = Asked("get", "", "pods", "proxy")
    (granted,) = yaml.safe_load_all(missing_role(kind, "ns", asked, ""))
    assert granted["rules"] == [
        {"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]},
    ]


def test_without_leave_for_records_only_that_is_granted() -> None:
    (kind,) = (kind for kind in KINDS.values() if kind.kind == "Job")
    (granted,) = yaml.safe_load_all(missing_role(kind, "ns", Asked("create", "", "configmaps"), ""))
    assert granted["rules"] == records_role()["rules"]


def test_a_person_gets_the_role_without_a_binding() -> None:
    (kind,) = (kind for kind in KINDS.values() if kind.kind == "Job")
    asked = Asked("create", "batch", "jobs")
    assert len(list(yaml.safe_load_all(missing_role(kind, "ns", asked, "ann")))) == 1
