"""Addresses as people write them."""

from __future__ import annotations

import pytest

from katibflow.client.access import with_scheme


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("127.0.0.1:8888", "http://127.0.0.1:8888"),
        ("[::1]:8888", "http://[::1]:8888"),
        ("localhost:8080", "http://localhost:8080"),
        ("localhost:8443", "https://localhost:8443"),
        ("ml-pipeline:8888", "http://ml-pipeline:8888"),
        (
            "ml-pipeline.kubeflow.svc.cluster.local:8888/x",
            "http://ml-pipeline.kubeflow.svc.cluster.local:8888/x",
        ),
        ("kubeflow.example.com", "https://kubeflow.example.com"),
        ("kubeflow.example.com:443/pipeline", "https://kubeflow.example.com:443/pipeline"),
        ("kubeflow.example.com:8080", "http://kubeflow.example.com:8080"),
        ("1234.notebooks.googleusercontent.com", "https://1234.notebooks.googleusercontent.com"),
        ("https://127.0.0.1", "https://127.0.0.1"),
        ("http://kubeflow.example.com", "http://kubeflow.example.com"),
    ],
)
def test_a_scheme_that_is_left_out_is_the_usual_one(address: str, meant: str) -> None:
    assert with_scheme(address) == meant
