"""Finds mistakes in what is given to `tune`, before anything runs, from the function's source.

A mistake is one that makes every trial fail. What may be right is left to the first trial.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from katibflow.api.function_source import source_of
from katibflow.errors import InputError
from katibflow.experiment.yaml_reader import found
from katibflow.search import Space

__all__ = ["check_objective"]

_REPORTING = frozenset({"print", "report_metrics", "write", "writelines"})
"""Names by which a function may report its metrics itself."""


def check_objective(
    function: Callable[..., Any], parameters: Mapping[str, Any], metric: str
) -> None:
    """Checks a function of which a program can be made, and its parameters.

    Raises:
        InputError: Every trial would fail: there is no search space, or a constant looks like a
            range; the only argument is a parameter's by another name; or no value is reported.
    """
    name = function.__name__
    source = source_of(function, name)
    _check_parameters(function, parameters)
    arguments = list(inspect.signature(function).parameters)
    if len(arguments) == 1 and arguments[0] not in parameters:
        _check_argument(name, source, arguments[0], list(parameters))
    _check_returns(name, source, metric)


def _check_parameters(function: Callable[..., Any], parameters: Mapping[str, Any]) -> None:
    """Checks that no constant is what looks like a range."""
    signature = inspect.signature(function)
    for name, value in parameters.items():
        if isinstance(value, Space) or _takes_several(signature.parameters.get(name)):
            continue
        space = _meant(value)
        if space:
            raise InputError(
                f"parameters: {name}: found {_shown(value)}, a constant that looks like a range; "
                f"allowed: {space} for a search space, a list for a constant of several numbers"
            )
    if not any(isinstance(value, Space) for value in parameters.values()):
        raise InputError(
            "parameters: found no search space; allowed: at least one, as "
            '{"lr": search.double(min=0.001, max=0.1)}; other values are constants'
        )


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, tuple | range) else found(value)


def _takes_several(parameter: inspect.Parameter | None) -> bool:
    """Returns whether an argument is declared to be a sequence, by its default or annotation."""
    if parameter is None:
        return False
    if isinstance(parameter.default, tuple | list | range | Mapping):
        return True
    declared = str(parameter.annotation).lower()
    return any(word in declared for word in ("tuple", "list", "sequence", "range", "mapping"))


def _meant(value: object) -> str:
    """Returns the search space that a value seems to stand for, as source; "" for a constant."""
    match value:
        case range():
            return f"search.int(min={value.start}, max={value.stop - 1}, step={value.step})"
        case {"min": low, "max": high} | {"low": low, "high": high}:
            pass
        case (low, high) if isinstance(value, tuple):
            pass
        case _:
            return ""
    if isinstance(low, bool) or isinstance(high, bool):
        return ""
    if not (isinstance(low, int | float) and isinstance(high, int | float) and low < high):
        return ""
    kind = "int" if isinstance(low, int) and isinstance(high, int) else "double"
    return f"search.{kind}(min={low!r}, max={high!r})"


def _check_argument(name: str, source: str, argument: str, parameters: list[str]) -> None:
    """Checks that a function's only argument, which gets all parameters, is used as a mapping."""
    operands: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.BitOr):
            operands += [node.left, node.right]
        elif isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
            operands.append(node.operand)
    if any(isinstance(each, ast.Name) and each.id == argument for each in operands):
        raise InputError(
            f"objective {name}: found the argument {argument}, which is a number in its source and "
            f"no parameter; allowed: {', '.join(parameters)}, or one mapping of them"
        )


def _check_returns(name: str, source: str, metric: str) -> None:
    """Checks that a function returns a value, or may report one itself."""
    tree = ast.parse(source)
    function = tree.body[0]
    if any(isinstance(node, ast.Return) and node.value is not None for node in _own(function)):
        return
    if isinstance(function, ast.FunctionDef) and isinstance(function.body[-1], ast.Raise):
        return  # the first trial tells what it raises
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=used) | ast.Attribute(attr=used) if used in _REPORTING:
                return
            case ast.Import(names=names) if not all(map(_is_standard, (a.name for a in names))):
                return
            case ast.ImportFrom(module=module) if not _is_standard(module or ""):
                return
    raise InputError(
        f"objective {name}: found a function that returns nothing and prints nothing; allowed: "
        f"return the value of {metric}, or a mapping of metrics, or print {metric}=<value>"
    )


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes of a function without those of functions and classes inside it."""
    for node in ast.iter_child_nodes(function):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield node
            yield from _own(node)
