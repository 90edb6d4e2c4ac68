"""One objective is several with one entry: one module asks how many there are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.paths import ROOT

HOME = {"katibflow/experiment/types.py", "katibflow/study/objectives.py"}
"""The model of the file, and what the objectives make of trials."""

FILES = sorted(
    file
    for folder in (ROOT / "katibflow", ROOT / "components", ROOT / "pipelines")
    for file in folder.rglob("*.py")
    if str(file.relative_to(ROOT)) not in HOME
)


def offences(source: str) -> list[str]:
    """What asks for the first objective, or for the others, by itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("goals", "objective_metric_name"):
            found.append(ast.unparse(node))
        counted = isinstance(node, ast.Compare) and any(
            isinstance(part, ast.Call) and ast.unparse(part).endswith(".aims)")
            for part in (node.left, *node.comparators)
        )
        if counted:
            found.append(ast.unparse(node))
    return found


def test_what_is_looked_for_is_found() -> None:
    assert offences("if spec.objective.goals: pass") == ["spec.objective.goals"]
    assert offences("x = o.objective_metric_name") == ["o.objective_metric_name"]
    assert offences("if len(objective.aims) > 1: pass") == ["len(objective.aims) > 1"]
    assert offences("for aim in objective.aims: pass") == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_takes_all_objectives_alike(file: Path) -> None:
    assert offences(file.read_text("utf-8")) == []
