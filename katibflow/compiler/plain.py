"""Strips what people read from source text, so that it takes less room in a pipeline."""

from __future__ import annotations

import ast

__all__ = ["plain_source", "plain_text"]


def plain_source(source: str, annotated: bool = True) -> str:
    """Returns the same program without comments and docstrings.

    Names and statements stay, so that a traceback is still useful, and the annotations of classes,
    which dataclasses and pydantic read.

    Args:
        source: The program.
        annotated: Whether functions keep their annotations, as KFP reads those of components.
    """
    return plain_text(ast.parse(source), annotated)


def plain_text(tree: ast.Module, annotated: bool = True) -> str:
    """Returns the text of a parsed program as `plain_source` does; changes the tree."""
    _WithoutDocstrings().visit(tree)
    if not annotated:
        _WithoutAnnotations().visit(tree)
        _leave_out_unused(tree)
    return ast.unparse(ast.fix_missing_locations(tree))


class _WithoutAnnotations(ast.NodeTransformer):
    """Removes the annotations of functions and of names in them, and what only checkers read."""

    def __init__(self) -> None:
        self._depth = 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        given = node.args
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
            argument.annotation = None
        for rest in (given.vararg, given.kwarg):
            if rest is not None:
                rest.annotation = None
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        # A class in a function is a class all the same: its fields are annotations.
        depth, self._depth = self._depth, 0
        self.generic_visit(node)
        self._depth = depth
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        self.generic_visit(node)
        if not self._depth:
            return node
        return None if node.value is None else ast.Assign([node.target], node.value)

    def visit_If(self, node: ast.If) -> ast.If | None:
        self.generic_visit(node)
        is_for_checkers = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if is_for_checkers and not node.orelse else node


_OF_CHECKERS = frozenset({"typing", "collections.abc"})


def _leave_out_unused(tree: ast.Module) -> None:
    """Removes imports that only annotations used, and ``__all__`` where nothing reads it."""
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    # An annotation in quotes names what it needs inside a text.
    texts = "\n".join(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    left: list[ast.stmt] = []
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module in _OF_CHECKERS:
            statement.names = [
                alias for alias in statement.names if alias.name in names or alias.name in texts
            ]
            if not statement.names:
                continue
        if _assigns(statement, "__all__") and names.count("__all__") == 1:
            continue
        left.append(statement)
    tree.body = left


def _assigns(statement: ast.stmt, name: str) -> bool:
    return isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == name for target in statement.targets
    )


class _WithoutDocstrings(ast.NodeTransformer):
    """Removes every statement that is only a text."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            left = [statement for statement in body if not _is_text(statement)]
            is_module = isinstance(node, ast.Module)
            node.body = left if left or is_module else [ast.Pass()]  # type: ignore[attr-defined]
        return node


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
