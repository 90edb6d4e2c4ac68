"""Replaces ``**given`` of a component by one input for each of a run's parameters.

KFP reads a component's inputs from its function's signature, when it compiles and when the step
runs. It does not accept ``**``, so it gets the function and its source with the names written out.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

__all__ = ["with_inputs", "with_inputs_in_source"]


def with_inputs(function: Callable[..., Any], names: Sequence[str]) -> Callable[..., Any]:
    """Returns the function with a signature that has names in place of its ``**``.

    Args:
        function: A component's function; it is returned unchanged if it has no ``**``.
        names: The inputs' names; each input gets the annotation of ``**``.
    """
    signature = inspect.signature(function)
    *others, last = signature.parameters.values() or (None,)
    if last is None or last.kind is not inspect.Parameter.VAR_KEYWORD:
        return function

    @wraps(function)
    def component(*values: Any, **named: Any) -> Any:
        return function(*values, **named)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    inputs = [inspect.Parameter(name, kind, annotation=last.annotation) for name in names]
    signature = signature.replace(parameters=[*others, *inputs])
    component.__signature__ = signature  # type: ignore[attr-defined]
    return component


def with_inputs_in_source(source: str, names: Sequence[str]) -> str:
    """Returns a component's source text in which its function has names in place of ``**``.

    Args:
        source: A module with one function; it is returned unchanged if that has no ``**``.
        names: The inputs' names.
    """
    module = ast.parse(source)
    (function,) = (node for node in module.body if isinstance(node, ast.FunctionDef))
    rest = function.args.kwarg
    if rest is None:
        return source
    function.args.args += [ast.arg(name, rest.annotation) for name in names]
    function.args.kwarg = None
    gathered = ", ".join(f"{name!r}: {name}" for name in names)
    function.body[:0] = ast.parse(f"{rest.arg} = {{{gathered}}}").body
    return ast.unparse(ast.fix_missing_locations(module))
