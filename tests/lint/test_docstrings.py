"""Names in backticks in docstrings: each is a module, or a name in one, that is still there."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.lint.test_architecture import FILES, named, tree_of
from tests.paths import ROOT

NAME = re.compile(r"(?<!`)`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)`(?!`)")


def module_name(file: Path) -> str:
    """Returns a file's name as a module of katibflow, also of a folder that is linked there."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "katibflow" else ("katibflow", *parts)
    return ".".join(parts).removesuffix(".__init__")


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yields the docstrings of a module, its classes and functions, and those below constants."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(ast.Constant(str(text))):
                yield text


def members(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Returns the names that a module or class binds, with the statement that binds each."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.If):
            found |= members(node.body)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name: node for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {part.id: node for part in targets if isinstance(part, ast.Name)}
    return found


def attributes(node: ast.stmt) -> set[str]:
    """Returns the names of a class: those of its body, and those that its methods give ``self``."""
    if not isinstance(node, ast.ClassDef):
        return set()
    given = {
        part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
    }
    return given | set(members(node.body))


@cache
def library() -> dict[str, dict[str, ast.stmt]]:
    """Returns the names of each module of the library."""
    return {module_name(file): members(tree_of(file).body) for file in FILES}


def is_there(name: str, module: str) -> bool:
    """Returns whether a dotted name in a docstring of a module means something.

    It may be written from the module itself, or from any folder above it; a class of the library
    needs no module in front.
    """
    steps = module.split(".")
    roots = ["", *(f"{'.'.join(steps[:end])}." for end in range(len(steps), 0, -1))]
    return any(_is_in_library(f"{root}{name}") for root in roots) or _is_installed(name)


def _is_in_library(name: str) -> bool:
    """Returns whether a name is a module, a name in a module, or an attribute of a class."""
    modules = library()
    owner, _, last = name.rpartition(".")
    if name in modules or last in modules.get(owner, {}):
        return True
    module, _, kind = owner.rpartition(".")
    places = [modules.get(module, {})] if module else modules.values()
    return any(kind in names and last in attributes(names[kind]) for names in places)


def _is_installed(name: str) -> bool:
    """Returns whether a name is a module of another package."""
    if name.startswith("katibflow"):
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


@pytest.mark.parametrize("file", FILES, ids=named)
def test_names_in_docstrings_are_there(file: Path) -> None:
    names = {name for text in docstrings(tree_of(file)) for name in NAME.findall(text)}
    gone = sorted(n for n in names if not is_there(n, module_name(file)))
    assert not gone, f"{named(file)} names what is no longer there: {', '.join(gone)}"
