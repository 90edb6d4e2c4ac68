"""Tests how the connection to a cluster is configured, and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from katibflow.errors import InputError
from katibflow.runners.kubernetes import api
from katibflow.runners.kubernetes.api import connect
from tests.doubles.kubernetes.lab import Lab


@pytest.fixture
def config(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = lab.kubeconfig()
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


def test_the_contexts_namespace_is_taken(config: Path) -> None:
    assert connect().namespace == "kubeflow"
    assert connect(context="other").namespace == "default"
    assert connect("team-a").namespace == "team-a"


def test_the_token_of_the_context_is_sent(lab: Lab, config: Path) -> None:
    api = connect()
    assert api.request("GET", api.path("v1", "pods"))["items"] == []


@pytest.mark.parametrize(
    "text", ["", "no: config", "clusters: [", "apiVersion: v1\nkind: Config\ncurrent-context: x"]
)
def test_a_broken_kubeconfig_is_bad_input(config: Path, text: str) -> None:
    config.write_text(text)
    with pytest.raises(InputError, match=r"(?s)no cluster to run on.*allowed: a kubeconfig"):
        connect()


def test_a_missing_kubeconfig_is_bad_input(config: Path) -> None:
    config.unlink()
    with pytest.raises(InputError, match="no cluster to run on"):
        connect()


def test_an_unknown_context_is_bad_input(config: Path) -> None:
    with pytest.raises(InputError, match="nope"):
        connect(context="nope")


def test_in_a_pod_the_service_account_is_used(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernetes.config import incluster_config

    for name, text in (("namespace", "team-b\n"), ("token", "t"), ("ca.crt", "c")):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(api, "_ACCOUNT_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert connect().namespace == "team-b"
