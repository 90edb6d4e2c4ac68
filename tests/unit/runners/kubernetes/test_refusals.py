"""Tests who refused a request, by Status objects that Kubernetes 1.35 answered."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.runners.kubernetes.refusals import Refusal, refusal

JOBS = {"group": "batch", "kind": "jobs"}
NAMED = {**JOBS, "name": "r1"}
GOING = {
    "reason": "NamespaceTerminating",
    "message": "namespace gone is being terminated",
    "field": "metadata.namespace",
}
NO_ROLE = (
    'jobs.batch is forbidden: User "system:serviceaccount:ns:default" cannot {} resource "jobs" in '
    'API group "batch" in the namespace "ns"'
)
WEBHOOK = (
    'admission webhook "validator.pytorchjob.training-operator.kubeflow.org" denied the request: '
    'metadata.name: Invalid value: "a.b": you cannot have this name'
)
QUOTA = (
    'jobs.batch "r1" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: '
    "count/jobs.batch=0, limited: count/jobs.batch=0"
)
TERMINATING = (
    'jobs.batch "r1" is forbidden: unable to create new content in namespace gone because it is '
    "being terminated"
)


def status(message: str, details: Any = None, code: int = 403) -> dict[str, Any]:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "Forbidden",
        "code": code,
    }
    return body if details is None else {**body, "details": details}


ROWS = [
    ("create", status(NO_ROLE.format("create"), JOBS), Refusal.ACCESS),
    ("list", status(NO_ROLE.format("list"), JOBS), Refusal.ACCESS),
    ("get", status(NO_ROLE.format("get"), NAMED), Refusal.ACCESS),
    ("patch", status(NO_ROLE.format("patch"), NAMED), Refusal.UNCLEAR),
    ("create", status(WEBHOOK), Refusal.WEBHOOK),
    ("patch", status(WEBHOOK), Refusal.WEBHOOK),
    ("create", status(QUOTA, NAMED), Refusal.ADMISSION),
    ("create", status(TERMINATING, {**NAMED, "causes": [GOING]}), Refusal.NAMESPACE),
    ("create", status("invalid", {}, 422), Refusal.NONE),
    ("create", {}, Refusal.NONE),
]


@pytest.mark.parametrize(("verb", "body", "expected"), ROWS)
def test_a_status_says_who_refused(verb: str, body: dict[str, Any], expected: Refusal) -> None:
    assert refusal(verb, body) is expected


@pytest.mark.parametrize(("verb", "body", "expected"), ROWS)
def test_the_words_of_a_refusal_say_nothing(
    verb: str, body: dict[str, Any], expected: Refusal
) -> None:
    assert refusal(verb, {**body, "message": "you cannot"} if body else body) is expected
