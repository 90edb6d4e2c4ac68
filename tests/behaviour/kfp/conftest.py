from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.kfp.server import KfpServer
from tests.doubles.kubernetes.lab import Lab


@pytest.fixture(autouse=True)
def nothing_of_the_user_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, token or kubeconfig but those of the test."""
    for name in list(os.environ):
        if name.startswith("KF_PIPELINES_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    monkeypatch.chdir(tmp_path)  # the folder of runs is looked for here


@pytest.fixture
def kfp_server() -> Iterator[KfpServer]:
    """Kubeflow Pipelines behind an HTTP server."""
    made = KfpServer()
    yield made
    made.close()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster that the kubeconfig names, of whose workflows it may read what there is."""
    made = Lab(tmp_path)
    readable = {"apiGroups": ["argoproj.io"], "resources": ["workflows"], "verbs": ["get", "list"]}
    made.server.rules = [*(made.server.rules or ()), readable]
    monkeypatch.setenv("KUBECONFIG", str(made.kubeconfig()))
    yield made
    made.close()
