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
ROWS = [
    ("create", 403, JOBS, Refusal.ACCESS),
    ("list", 403, JOBS, Refusal.ACCESS),
    ("get", 403, NAMED, Refusal.ACCESS),
    # an authorizer, or a plugin such as a quota
    ("patch", 403, NAMED, Refusal.UNCLEAR),
    # the Training Operator's validating webhook
    ("create", 403, {}, Refusal.WEBHOOK),
    ("patch", 403, {}, Refusal.WEBHOOK),
    ("list", 403, {}, Refusal.ACCESS),
    # a quota
    ("create", 403, NAMED, Refusal.ADMISSION),
    ("create", 403, {**NAMED, "causes": [GOING]}, Refusal.NAMESPACE),
    ("create", 422, {}, Refusal.NONE),
    ("create", 0, {}, Refusal.NONE),
]


@pytest.mark.parametrize(("verb", "code", "details", "expected"), ROWS)
def test_a_status_says_who_refused(
    verb: str, code: int, details: dict[str, Any], expected: Refusal
) -> None:
    assert refusal(verb, code, details) is expected
