"""Which packages a function of the library can come to import, found by reading the sources.

The unit is a definition at the top of a module: a function, a class as a whole, or an assignment.
It can come to whatever it names, and to what those name, in the modules that are carried; what a
module imports at its top is imported as soon as anything of the module is.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from katibflow.compiler.library import carried_modules

Target = tuple[str, str]
"""A module and a name in it; no name for the module as a whole."""


@dataclass(frozen=True)
class Module:
    """What is in a module.

    Attributes:
        name: Dotted.
        imported: What the names that its top imports stand for.
        eager: What is imported with it.
        definitions: The statements that bind each name of its own.
    """

    name: str
    imported: dict[str, Target] = field(default_factory=dict)
    eager: list[Target] = field(default_factory=list)
    definitions: dict[str, list[ast.AST]] = field(default_factory=dict)


def _bindings(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Target]]:
    if isinstance(node, ast.ImportFrom):
        for each in node.names:
            yield each.asname or each.name, (node.module or "", each.name)
        return
    for each in node.names:
        bound = each.asname or each.name.partition(".")[0]
        yield bound, (each.name if each.asname else bound, "")


@cache
def modules() -> Mapping[str, Module]:
    """The carried modules by name."""
    found = {}
    for path, text in carried_modules().items():
        name = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        found[name] = module = Module(name)
        for node in ast.parse(text).body:
            _take(module, node)
    return found


def _take(module: Module, node: ast.stmt) -> None:
    match node:
        case ast.Import() | ast.ImportFrom():
            for bound, target in _bindings(node):
                module.imported[bound] = target
                module.eager.append(target)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            pass
        case ast.FunctionDef() | ast.ClassDef():
            module.definitions.setdefault(node.name, []).append(node)
        case _:
            for each in ast.walk(node):
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                    module.definitions.setdefault(each.id, []).append(node)


def _named(module: Module, node: ast.AST) -> Iterator[Target]:
    """What a definition names: in its module, in others, and by imports of its own."""
    own = {
        bound: target
        for each in ast.walk(node)
        if isinstance(each, ast.Import | ast.ImportFrom)
        for bound, target in _bindings(each)
    }
    yield from own.values()
    known = {**module.imported, **own}
    for each in ast.walk(node):
        match each:
            case ast.Attribute(value=ast.Name(id=name)) if name in known:
                source, inner = known[name]
                whole = f"{source}.{inner}" if inner else source
                yield (whole, each.attr) if whole in modules() else known[name]
            case ast.Name(id=name) if name in known:
                yield known[name]
            case ast.Name(id=name):
                yield module.name, name
            case ast.Constant(value=str(name)) if name in modules():
                yield name, "BACKEND"  # the registry of backends names modules


def _without_annotations(node: ast.AST) -> ast.AST:
    for each in ast.walk(node):
        match each:
            case ast.FunctionDef():
                each.returns = None
            case ast.arg():
                each.annotation = None
    return node


def packages_reached(*roots: Target) -> set[str]:
    """The top names of the packages that can be imported on the way from some functions."""
    seen: set[Target] = set()
    reached: set[str] = set()
    waiting = [*roots]
    while waiting:
        target = waiting.pop()
        if target in seen:
            continue
        seen.add(target)
        source, name = target
        if f"{source}.{name}" in modules():
            source, name = f"{source}.{name}", ""
        module = modules().get(source)
        if module is None:
            reached.add(source)
            continue
        parents = [source.rpartition(".")[0]] if "." in source else []
        waiting += [(parent, "") for parent in parents]
        waiting += [(imported[0], "") for imported in module.eager]
        if name in module.imported:
            waiting.append(module.imported[name])
        for node in module.definitions.get(name, ()):
            waiting += _named(module, _without_annotations(node))
    tops = {".".join(name.split(".")[: 2 if name.startswith("google.") else 1]) for name in reached}
    return tops - set(sys.stdlib_module_names) - {"", "katibflow", "__future__"}
