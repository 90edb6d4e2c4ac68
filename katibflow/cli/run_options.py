"""Gives a command an option for each run parameter, from `steps.run_parameters`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from katibflow.steps import run_parameters

__all__ = ["with_run_options"]


def with_run_options(before: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Returns a decorator that puts an option for each of a run's parameters in place of ``**``.

    The command gets each option by the parameter's name, with None for one that is not given.

    Args:
        before: Name of the command's parameter before which its help lists these options.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def made(**options: Any) -> None:
            command(**options)

        signature = inspect.signature(command, eval_str=True)
        *own, _ = signature.parameters.values()
        at = [parameter.name for parameter in own].index(before)
        parameters = [*own[:at], *_options(), *own[at:]]
        made.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        )
        made.__annotations__ = {each.name: each.annotation for each in parameters}
        return made

    return decorated


def _options() -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None, typer.Option(each.option, metavar=each.metavar, help=each.help)
            ],
        )
        for each in run_parameters.RUN_PARAMETERS
    ]
