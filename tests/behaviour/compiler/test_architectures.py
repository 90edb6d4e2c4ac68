"""Katib's files of an architecture search as pipelines, and what each step installs."""

from __future__ import annotations

import re

import pytest

from katibflow.compiler.emit import compile_experiment
from katibflow.compiler.requirements import SUGGESTERS, VERSIONS, packages_of
from katibflow.validation.rules import check_document
from tests.nas import KATIBS


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("enas-cpu", "rounds"),
        ("enas-gpu", "controller"),
        ("darts-cpu", "controller"),
        ("darts-gpu", "rounds"),
    ],
)
def test_katibs_files_compile(name: str, layout: str) -> None:
    of = check_document(KATIBS[name], name)
    text = compile_experiment(of, layout=layout).text
    named = r"(?:katibflow\.steps\.installing |KATIBFLOW_PACKAGES=')([\w .-]+)"
    installed = re.findall(named, " ".join(text.split()))
    assert installed
    assert any("torch" in each.split() for each in installed) == name.startswith("enas")
    for step in ("start", "suggestion", "launcher", "controller", "collector", "report"):
        needs_torch = VERSIONS["torch"] in packages_of(step, of)
        assert needs_torch == (name.startswith("enas") and step in SUGGESTERS)
