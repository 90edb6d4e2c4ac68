"""What holds for the code as a whole and no tool knows: sizes, names, imports, what is shipped."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from katibflow.extras import EXTRAS
from tests.paths import ROOT

ELSEWHERE = ("components", "pipelines")
"""Packages of katibflow that are links to the top of the repository."""
FILES = sorted(
    file
    for folder in ("", *ELSEWHERE)
    for file in (ROOT / "katibflow" / folder).resolve().rglob("*.py")
)
LIBRARY = [file for file in FILES if file.is_relative_to(ROOT / "katibflow")]
MOST_LINES = 500


def named(file: Path) -> str:
    return str(file.relative_to(ROOT))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("file", FILES, ids=named)
def test_a_module_is_short(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= MOST_LINES


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def exported(tree: ast.Module) -> list[str]:
    """The literal ``__all__`` of a module; empty if it has none."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            assert isinstance(names, list)
            return names
    return []


def bound(tree: ast.Module) -> Iterator[str]:
    """Every name that a module binds at its top, or imports there for its readers alone."""
    readers = (
        node.body
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    for node in [*tree.body, *chain.from_iterable(readers)]:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))
        elif isinstance(node, ast.AnnAssign):
            yield ast.unparse(node.target)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield from (name.asname or name.name for name in node.names)


def commands(tree: ast.Module) -> set[str]:
    """Functions that are commands of a command line: nobody calls them by name."""
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(mark).startswith("app.") for mark in node.decorator_list)
    }


@pytest.mark.parametrize("file", LIBRARY, ids=named)
def test_all_names_every_public_class_and_function(file: Path) -> None:
    """Ruff keeps the list sorted (RUF022)."""
    tree = tree_of(file)
    names = exported(tree)
    public = {
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    }
    assert public - commands(tree) - set(names) == set()
    stub = file.with_suffix(".pyi")  # of names that are imported when they are asked for
    offered = tree_of(stub) if stub.exists() else tree
    assert set(names) - set(bound(offered)) == set()
    assert exported(offered) == names
    assert len(set(names)) == len(names)


def module_file(name: str) -> Path | None:
    path = ROOT.joinpath(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@pytest.mark.parametrize("file", FILES, ids=named)
def test_modules_take_only_exported_names_from_each_other(file: Path) -> None:
    for node in ast.walk(tree_of(file)):
        if not isinstance(node, ast.ImportFrom) or node.module is None or node.level:
            continue
        source = module_file(node.module) if node.module.split(".")[0] == "katibflow" else None
        if source is None:
            continue
        names = exported(tree_of(source))
        for name in (each.name for each in node.names):
            is_module = module_file(f"{node.module}.{name}") is not None
            assert is_module or name in names, f"{node.module} does not export {name}"


HEAVY = {"kfp", "kubernetes", "optuna", "pandas", "plotly", "scipy", "sklearn", "torch"}


@pytest.mark.parametrize(
    ("module", "banned"),
    [
        ("katibflow", HEAVY | {"pydantic", "rich", "typer", "yaml"}),
        ("katibflow.validation.rules", HEAVY | {"numpy", "re2", "rich", "typer"}),
        ("katibflow.cli", HEAVY | {"numpy", "rich"}),
        ("katibflow.steps", HEAVY | {"numpy", "re2", "rich", "typer"}),
        ("katibflow.client.api", HEAVY | {"numpy", "rich", "typer"}),
        ("katibflow.client.following", HEAVY | {"numpy", "rich", "typer"}),
        ("katibflow.client.submitting", HEAVY | {"numpy", "rich", "typer"}),
        ("katibflow.compiler", HEAVY | {"numpy", "rich"}),
        ("katibflow.engine.loop", HEAVY | {"numpy", "rich", "typer"}),
        ("katibflow.runners.local.runner", HEAVY | {"numpy", "rich", "typer"}),
        ("katibflow.runners.kubernetes.runner", HEAVY | {"numpy", "rich", "typer"}),
    ],
)
def test_importing_a_module_imports_nothing_heavy(module: str, banned: set[str]) -> None:
    done = run("-c", f"import {module}, sys; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded & banned == set()


def declared(*extras: str) -> set[str]:
    """The packages that setup.cfg asks for, by normal name."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    texts = [config["options"]["install_requires"]]
    texts += [config["options.extras_require"][extra] for extra in extras]
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return {normal(re.split(r"[<>=!~;\[ ]", line)[0]) for line in lines}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def third_party(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names - set(sys.stdlib_module_names) - {"__future__", "katibflow", "tests"}


def test_every_imported_package_is_declared() -> None:
    owners = importlib.metadata.packages_distributions()
    for files, allowed in (
        (FILES, declared(*EXTRAS)),
        (sorted((ROOT / "tests").rglob("*.py")), declared(*EXTRAS, "dev")),
    ):
        for file in files:
            for name in third_party(tree_of(file)):
                packages = set(map(normal, owners.get(name, [name])))
                assert packages & allowed, f"{named(file)} imports {name}"


def private_names(tree: ast.Module) -> Iterator[str]:
    """Attributes with a leading underscore of anything but the object or module itself."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
        ):
            yield ast.unparse(node)


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if {"kfp", "kfp_server_api"} & third_party(tree_of(file))],
    ids=named,
)
def test_nothing_private_of_kfp_is_touched(file: Path) -> None:
    assert list(private_names(tree_of(file))) == []
