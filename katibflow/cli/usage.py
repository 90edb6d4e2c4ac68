"""Says what is wrong with the words of a command line, in one line, as of any other input.

Typer tells a bad value without the value, in a box. Which values an option takes is read from the
command's signature, so that each option of each command is told alike.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

from katibflow.errors import InputError

__all__ = ["Checked", "UsageError", "allowed_values", "usage_text"]

UsageError: Any = typer.BadParameter.__mro__[1]
"""The error about the words of a command line; typer gives its class no name of its own."""

_NUMBERS = {int: "a whole number", float: "a number"}


class Checked(TyperCommand):
    """A command that names a bad value of an option, and what the option takes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the words after the command's name.

        Raises:
            InputError: A value is none that its option or argument takes.
            UsageError: The words are wrong otherwise, as an option that there is not.
        """
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            error.ctx = error.ctx or ctx
            parameter: Any = getattr(error, "param", None)
            given = parameter and self._given(ctx, words).get(parameter.name)
            if given is None or self.callback is None:
                raise
            is_argument = parameter.param_type_name == "argument"
            argument = parameter.metavar or parameter.name.upper()
            name = argument if is_argument else max(parameter.opts, key=len)
            allowed = allowed_values(self.callback, parameter.name) or error.message
            raise InputError(f'{name}: found "{given}"; allowed: {allowed}') from None

    def _given(self, ctx: Any, words: list[str]) -> dict[str, Any]:
        """Returns the words that stand for each parameter, not converted."""
        values, *_ = self.make_parser(ctx).parse_args(args=words)
        return dict(values)


def allowed_values(command: Callable[..., Any], parameter: str) -> str:
    """Returns the values that a parameter of a command takes, in words; empty for any text."""
    annotation: Any = inspect.signature(command, eval_str=True).parameters[parameter].annotation
    info = None
    if get_origin(annotation) is Annotated:
        annotation, info, *_ = get_args(annotation)
    kind = _bare(annotation)
    if kind in _NUMBERS:
        return _NUMBERS[kind] + _range(getattr(info, "min", None), getattr(info, "max", None))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(str(each.value) for each in kind)
    return "a path" if kind is Path else ""


def _bare(annotation: Any) -> Any:
    """Returns the type of one value, of ``X | None`` or a list."""
    if get_origin(annotation) in (Union, types.UnionType):
        return _bare(next(each for each in get_args(annotation) if each is not type(None)))
    return _bare(get_args(annotation)[0]) if get_origin(annotation) is list else annotation


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    if least is not None:
        return f" of at least {least:g}"
    return f" of at most {most:g}" if most is not None else ""


def usage_text(error: Any) -> str:
    """Returns what is wrong with the words of a command line, and the command that says more."""
    command = error.ctx.command_path if error.ctx is not None else "katibflow"
    text = " ".join(error.format_message().split()).rstrip(".")
    return f"{command}: {text}; `{command} -h` says what is allowed"
