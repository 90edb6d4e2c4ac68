"""Gives Python functions a keyword for each run parameter, from `steps.run_parameters`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from katibflow.steps import run_parameters
from katibflow.steps.values import NONE

__all__ = ["given_texts", "with_run_keywords"]

_ENTRY = re.compile(r"^( *)\*\*run_parameters: .*$", re.MULTILINE)
"""The entry of ``**run_parameters`` among a docstring's arguments: one line."""

_Function = TypeVar("_Function", bound=Callable[..., Any])


def with_run_keywords(function: _Function) -> _Function:
    """Puts the run parameters in place of ``**`` in a function's signature and docstring.

    Args:
        function: A function with ``**run_parameters``; it is changed and returned.
    """
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    kind = inspect.Parameter.KEYWORD_ONLY
    keywords = [
        inspect.Parameter(each.keyword, kind, default=None, annotation="Any")
        for each in run_parameters.RUN_PARAMETERS
    ]
    changed = signature.replace(parameters=[*own, *keywords])
    function.__signature__ = changed  # type: ignore[attr-defined]
    function.__doc__ = _documented(function.__doc__ or "")
    return function


def _documented(text: str) -> str:
    entries = [
        f"{each.keyword}: {each.meaning[0].upper()}{each.meaning[1:]}."
        for each in run_parameters.RUN_PARAMETERS
    ]
    return _ENTRY.sub(lambda line: "\n".join(line[1] + entry for entry in entries), text)


def given_texts(
    keywords: Mapping[str, object], parameters: Mapping[str, object] | None = None
) -> dict[str, str]:
    """Returns a run's parameters by name, as texts.

    Args:
        keywords: Values by Python keyword; None leaves a parameter out.
        parameters: Values by name; None removes the Experiment's value.

    Raises:
        InputError: A name is no run parameter, or a parameter is given both ways.
    """
    given = run_parameters.by_names(parameters or {}, keywords)
    return {name: NONE if value is None else str(value) for name, value in given.items()}
