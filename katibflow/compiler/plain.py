"""Strips comments and docstrings from source text, so that it takes less room in a pipeline."""

from __future__ import annotations

import ast

__all__ = ["plain_source", "plain_text"]


def plain_source(source: str) -> str:
    """Returns the same program without comments and docstrings.

    Annotations stay, since dataclasses, pydantic and KFP read them. Names and statements stay, so
    that a traceback is still useful.
    """
    return plain_text(ast.parse(source))


def plain_text(tree: ast.Module) -> str:
    """Returns the text of a parsed program as `plain_source` does; changes the tree."""
    return ast.unparse(_WithoutDocstrings().visit(tree))


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
