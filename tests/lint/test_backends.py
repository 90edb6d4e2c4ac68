"""Nothing but the registry asks which backend it is; that a module imports one, import-linter sees.

The component `finish` alone does: it stands without the library, and what ends a cluster's jobs is
written into it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from katibflow.runners.backends import BACKENDS
from tests.lint.test_architecture import FILES, named, tree_of
from tests.paths import ROOT

RUNNERS = ROOT / "katibflow" / "runners"
OTHERS = [
    file
    for file in FILES
    if file != RUNNERS / "backends.py"
    and not any(file.is_relative_to(RUNNERS / name) for name in BACKENDS)
]


def asked(tree: ast.AST) -> Iterator[str]:
    """The names of backends that a module compares something with, or looks something up by."""
    for node in ast.walk(tree):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("backend_of"):
            parts = node.args
        for part in parts:
            for each in ast.walk(part):
                if isinstance(each, ast.Constant) and each.value in BACKENDS:
                    yield each.value


@pytest.mark.parametrize("file", OTHERS, ids=named)
def test_nothing_asks_which_backend_it_is(file: Path) -> None:
    assert list(asked(tree_of(file))) == []


@pytest.mark.parametrize(
    "code",
    [
        'if on == "kubernetes": pass',
        'x = "local" if on in ("local", "here") else None',
        'match on:\n    case "local": pass',
        'reader = backends.backend_of("kubernetes")',
    ],
)
def test_a_question_is_seen(code: str) -> None:
    assert list(asked(ast.parse(code)))
