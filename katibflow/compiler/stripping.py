"""Takes out of a module what it does not need to run, and moves no line."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["stripped"]

Position = tuple[int, int]
"""A line from 1 and a column from 0, in bytes of UTF-8, as the syntax tree counts."""


@dataclass(frozen=True)
class _Cut:
    start: Position
    end: Position
    instead: str = ""


def stripped(source: str) -> str:
    """The same program without what only people and type checkers read.

    Left out: comments, docstrings, annotations of functions and of variables in functions, the
    bodies of Protocols, what only type checkers import, ``__all__``; indentation is narrowed.
    Annotations in classes stay, since dataclasses and pydantic read them.
    """
    lines = [line.encode() for line in source.split("\n")]
    for cut in sorted(_cuts(ast.parse(source), lines), key=lambda cut: cut.start, reverse=True):
        _apply(cut, lines)
    text = _without_comments("\n".join(line.decode() for line in lines))
    ast.parse(text)
    return text


def _apply(cut: _Cut, lines: list[bytes]) -> None:
    (first, column), (last, end) = cut.start, cut.end
    rest = lines[last - 1][end:]
    head = lines[first - 1][:column] + cut.instead.encode()
    if first == last:
        lines[first - 1] = head + rest
        return
    lines[first - 1] = head
    for index in range(first, last - 1):
        lines[index] = b""
    # Inside brackets a line may go on anywhere; a statement that was cut leaves nothing behind.
    lines[last - 1] = rest


def _cuts(tree: ast.AST, lines: list[bytes], in_function: bool = False) -> Iterator[_Cut]:
    """What to cut, outermost first; nothing inside what is cut as a whole."""
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from _signature_cuts(tree, lines)
        in_function = True
    elif isinstance(tree, ast.ClassDef):
        in_function = False
    body = getattr(tree, "body", None)
    if isinstance(body, list):
        dropped = [statement for statement in body if _is_dropped(statement)]
        if _is_for_type_checkers(tree):
            dropped = body
        for statement in dropped:
            is_needed = len(dropped) == len(body) and statement is body[-1]
            instead = "..." if is_needed and not isinstance(tree, ast.Module) else ""
            yield _whole(statement, instead)
        left = {id(statement) for statement in dropped}
    else:
        left = set()
    for child in ast.iter_child_nodes(tree):
        if id(child) in left:
            continue
        if in_function and isinstance(child, ast.AnnAssign):
            yield _annotation_cut(child)
        yield from _cuts(child, lines, in_function)


def _is_dropped(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return isinstance(statement.value.value, str)
    return isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "__all__" for target in statement.targets
    )


def _is_for_type_checkers(tree: ast.AST) -> bool:
    if isinstance(tree, ast.If):
        return isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING"
    return isinstance(tree, ast.ClassDef) and any(
        isinstance(base, ast.Name) and base.id == "Protocol" for base in tree.bases
    )


def _whole(statement: ast.stmt, instead: str) -> _Cut:
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(node.lineno for node in decorators)])
    return _Cut((first, statement.col_offset), _end(statement), instead)


def _signature_cuts(
    function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[bytes]
) -> Iterator[_Cut]:
    taken = function.args
    for argument in (
        *taken.posonlyargs,
        *taken.args,
        *taken.kwonlyargs,
        *filter(None, (taken.vararg, taken.kwarg)),
    ):
        if argument.annotation is not None:
            start = argument.col_offset + len(argument.arg.encode())
            yield _Cut((argument.lineno, start), _end(argument.annotation))
    if function.returns is not None:
        row = function.returns.lineno
        arrow = lines[row - 1].rindex(b"->", 0, function.returns.col_offset)
        yield _Cut((row, arrow), _end(function.returns))


def _annotation_cut(statement: ast.AnnAssign) -> _Cut:
    if statement.value is None:
        return _Cut((statement.lineno, statement.col_offset), _end(statement), "pass")
    return _Cut(_end(statement.target), _end(statement.annotation))


def _end(node: ast.expr | ast.stmt) -> Position:
    assert node.end_lineno is not None and node.end_col_offset is not None
    return node.end_lineno, node.end_col_offset


def _without_comments(source: str) -> str:
    lines = source.split("\n")
    inside_text: set[int] = set()  # rows at whose end a text goes on
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT:
            lines[row - 1] = lines[row - 1][:column]
        elif token.end[0] > row and token.type not in (tokenize.NEWLINE, tokenize.NL):
            inside_text.update(range(row, token.end[0]))
    return "\n".join(
        _clean(line, starts_in_text=row - 1 in inside_text, ends_in_text=row in inside_text)
        for row, line in enumerate(lines, start=1)
    )


def _clean(line: str, *, starts_in_text: bool, ends_in_text: bool) -> str:
    line = line if ends_in_text else line.rstrip()
    return line if starts_in_text else _narrow(line)


def _narrow(line: str) -> str:
    """The line with one space for each four that it begins with."""
    width = len(line) - len(line.lstrip(" "))
    return " " * (width // 4) + line[width:]
