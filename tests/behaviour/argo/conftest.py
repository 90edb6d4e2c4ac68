from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.kubernetes.lab import Lab


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A cluster with Argo, of which the kubeconfig may do what `katibflow submit` needs."""
    made = Lab(tmp_path)
    kinds = {"workflows": ["create", "get", "list", "patch"], "cronworkflows": ["create"]}
    rules = [
        {"apiGroups": ["argoproj.io"], "resources": [kind], "verbs": verbs}
        for kind, verbs in kinds.items()
    ]
    made.server.rules = [*(made.server.rules or ()), *rules]
    for name in [name for name in os.environ if name.startswith(("KF_PIPELINES_", "ARGO_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(made.kubeconfig()))
    monkeypatch.chdir(tmp_path)
    yield made
    made.close()
