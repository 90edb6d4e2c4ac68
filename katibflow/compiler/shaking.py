"""Leaves out of a set of modules what nothing in them can reach.

What a top-level statement refers to is found by name: a name of its own module, one that the module
imports, or an attribute of an imported module. Everything a reached class holds is kept. Code that
looks up a name of the library at run time (``getattr``) is not seen; there is none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["shaken", "with_entry"]

Reference = tuple[str, str]
"""A module and a name in it; the empty name is what runs whenever the module is imported."""


@dataclass
class _Module:
    """A module's top-level names.

    Attributes:
        defined: Name to the statements that make it, calls of its methods included.
        imported: Name to where it comes from, for every import in the module.
        always: Statements that run when the module is imported and define nothing.
    """

    text: str
    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, Reference] = field(default_factory=dict)
    always: list[ast.stmt] = field(default_factory=list)


def shaken(modules: Mapping[str, str], roots: Iterable[Reference]) -> dict[str, str]:
    """The modules that are reached, without the top-level statements that are not.

    Args:
        modules: Module name to source text.
        roots: Where to begin.

    Returns:
        Module name to source text in which every line keeps its number.
    """
    read = {name: _read(text) for name, text in modules.items()}
    reached: set[Reference] = set()
    waiting = [*roots]
    while waiting:
        module, name = waiting.pop()
        if module not in read or (module, name) in reached:
            continue
        reached.add((module, name))
        parent = module.rpartition(".")[0]
        waiting += [(module, ""), (parent, "")]
        if name in read[module].imported:
            waiting += _targets(read, read[module].imported[name])
        for statement in read[module].defined.get(name, ()) if name else read[module].always:
            waiting += _references(read, module, statement)
    kept: dict[str, set[str]] = {}
    for module, name in reached:
        kept.setdefault(module, set()).add(name)
    return {name: _without(read[name], names) for name, names in kept.items()}


def with_entry(text: str, name: str, key: str) -> str:
    """A module in which a top-level dictionary has no other entry than that of ``key``, if any.

    Every entry stands on lines of its own.
    """
    lines = text.split("\n")
    for statement in ast.parse(text).body:
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        if name in _defined(statement) and isinstance(value, ast.Dict):
            for entry, item in zip(value.keys, value.values, strict=True):
                if entry is None or (isinstance(entry, ast.Constant) and entry.value == key):
                    continue
                _blank_lines(lines, entry.lineno, item.end_lineno or item.lineno)
    return "\n".join(lines)


def _read(text: str) -> _Module:
    tree = ast.parse(text)
    module = _Module(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module.imported[alias.asname or alias.name] = (node.module, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name if alias.asname else alias.name.split(".")[0]
                module.imported[alias.asname or top] = (top, "")
    for statement in tree.body:
        names = _defined(statement)
        completed = _completed(statement)
        if completed in module.defined:
            names = [completed]
        for name in names:
            module.defined.setdefault(name, []).append(statement)
        if not names and not isinstance(statement, ast.Import | ast.ImportFrom):
            module.always.append(statement)
    return module


def _defined(statement: ast.stmt) -> list[str]:
    """The names that a statement only defines; none for one that does something else too."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            targets += target.elts if isinstance(target, ast.Tuple) else [target]
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return names if len(names) == len(targets) else []


def _completed(statement: ast.stmt) -> str:
    """The name that a statement only goes on to make, as ``name.add(...)``; empty if none."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    function = call.func if isinstance(call, ast.Call) else None
    place = function.value if isinstance(function, ast.Attribute) else None
    return place.id if isinstance(place, ast.Name) else ""


def _references(
    read: Mapping[str, _Module], module: str, statement: ast.stmt
) -> Iterator[Reference]:
    imported = read[module].imported
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield module, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            source = imported.get(node.value.id)
            if source is not None:
                yield ".".join(filter(None, source)), node.attr
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield from _targets(read, (node.module, alias.name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield module, node.value  # a class may be annotated with a name in quotes


def _targets(read: Mapping[str, _Module], source: Reference) -> Iterator[Reference]:
    """What an imported name stands for: a module, or a name in one."""
    as_module = ".".join(filter(None, source))
    if as_module in read:
        yield as_module, ""
    yield source


def _without(module: _Module, names: set[str]) -> str:
    lines = module.text.split("\n")
    for statement in ast.parse(module.text).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            _narrow_import(lines, statement, names)
            continue
        completed = _completed(statement)
        defined = [completed] if completed in module.defined else _defined(statement)
        if defined and not names.intersection(defined):
            _blank(lines, statement)
    return "\n".join(lines)


def _narrow_import(
    lines: list[str], statement: ast.Import | ast.ImportFrom, names: set[str]
) -> None:
    if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
        return
    wanted = [
        alias for alias in statement.names if (alias.asname or alias.name.split(".")[0]) in names
    ]
    if len(wanted) == len(statement.names):
        return
    _blank(lines, statement)
    if wanted:
        statement.names = wanted
        lines[statement.lineno - 1] = ast.unparse(statement)


def _blank(lines: list[str], statement: ast.stmt) -> None:
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(node.lineno for node in decorators)])
    _blank_lines(lines, first, statement.end_lineno or statement.lineno)


def _blank_lines(lines: list[str], first: int, last: int) -> None:
    lines[first - 1 : last] = [""] * (last - first + 1)
