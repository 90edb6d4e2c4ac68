"""Tests that requests are described in the terms of permissions."""

from __future__ import annotations

from typing import Any

import pytest

from katibflow.runners.kubernetes.api import Asked

JOBS = "/apis/batch/v1/namespaces/ns/jobs"
PODS = "/api/v1/namespaces/ns/pods"


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("POST", JOBS, None, Asked("create", "batch", "jobs")),
        ("GET", JOBS, {"labelSelector": "a=b"}, Asked("list", "batch", "jobs")),
        ("GET", JOBS, {"watch": "true"}, Asked("watch", "batch", "jobs")),
        ("GET", f"{JOBS}/x", None, Asked("get", "batch", "jobs")),
        ("PATCH", f"{JOBS}/x", None, Asked("patch", "batch", "jobs")),
        ("DELETE", f"{JOBS}/x", None, Asked("delete", "batch", "jobs")),
        ("DELETE", PODS, {"labelSelector": "a=b"}, Asked("deletecollection", "", "pods")),
        ("GET", f"{PODS}/x/log", None, Asked("get", "", "pods", "log")),
        ("GET", f"{PODS}/x:80/proxy/a/metrics", {}, Asked("get", "", "pods", "proxy")),
    ],
)
def test_a_request_is_read_from_its_path(
    method: str, path: str, query: Any, expected: Asked
) -> None:
    assert Asked.of(method, path, query) == expected
