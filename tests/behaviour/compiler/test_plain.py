"""What is carried is the same program as the library, without what only people read."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

from katibflow.compiler.plain import plain_source
from tests.paths import ROOT

FILES = sorted(
    file
    for name in ("katibflow", "components", "pipelines")
    for file in (ROOT / name).rglob("*.py")
)


def program(source: str) -> str:
    """The syntax tree without texts that are statements, and without places in the file."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            left = [each for each in body if not _is_text(each)]
            node.body = left or ([] if isinstance(node, ast.Module) else [ast.Pass()])  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant(value=str())):
            return True
    return False


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_stays_the_same_program(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    plain = plain_source(source)
    assert program(plain) == program(source)
    assert plain_source(plain) == plain
    tree = ast.parse(plain)
    assert not [node for node in ast.walk(tree) if _is_text(node)]
    tokens = tokenize.generate_tokens(io.StringIO(plain).readline)
    assert not [token for token in tokens if token.type == tokenize.COMMENT]


def test_what_is_only_for_checkers_can_be_left_out_too() -> None:
    source = (
        "from __future__ import annotations\n"
        "from typing import TYPE_CHECKING, Any, ClassVar\n"
        "from collections.abc import Sequence\n"
        "if TYPE_CHECKING:\n    from a import b\n"
        "__all__ = ['A']\n"
        "def f(x: Any, *more: Sequence[int], y: int = 1) -> int:\n"
        "    z: int\n    z = 2\n    total: int = x + y + z\n    return total\n"
        "class A:\n    x: ClassVar[int] = 1\n    def g(self) -> 'A':\n        return self\n"
    )
    assert plain_source(source, annotated=False) == (
        "from __future__ import annotations\n"
        "from typing import ClassVar\n\n"
        "def f(x, *more, y=1):\n"
        "    z = 2\n    total = x + y + z\n    return total\n\n"
        "class A:\n    x: ClassVar[int] = 1\n\n    def g(self):\n        return self"
    )


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ('"""Text."""\nx = 1  # why\n', "x = 1"),
        ('"""Text."""\n', ""),
        ('def f():\n    """Text."""\n', "def f():\n    pass"),
        (
            'class A:\n    """Text."""\n    x: int = 1\n    """Of x."""\n',
            "class A:\n    x: int = 1",
        ),
        ("def f(a: int = 1) -> 'A':\n    return a\n", "def f(a: int=1) -> 'A':\n    return a"),
        ("x = '# no comment'  # one\n", "x = '# no comment'"),
        ('x = """a\n    b  \n"""\n', "x = 'a\\n    b  \\n'"),
        ('def f():\n    f"{1}"\n', "def f():\n    f'{1}'"),
        ("if x:\n    'no'\nelse:\n    y = 1\n", "if x:\n    pass\nelse:\n    y = 1"),
    ],
    ids=[
        *("docstring and comment", "only a docstring", "function", "class", "annotations"),
        *("text with a mark", "long text", "f-string, which does something", "branch"),
    ],
)
def test_leaves_the_program(source: str, plain: str) -> None:
    assert plain_source(source) == plain
