"""Writes the reference of the commands, from the command line's own parser, as Markdown.

``python -m katibflow.cli.reference > docs/commands.md``; a test compares.
"""

from __future__ import annotations

import enum
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer

__all__ = ["commands_page"]

_HEAD = (
    "# Commands\n",
    "Made by `python -m katibflow.cli.reference` from the command line's own parser, and compared "
    "with it by a test. `katibflow COMMAND --help` says the same.\n",
    "## Exit status\n",
    "| status | of every command |",
    "| --- | --- |",
    "| 0 | it did what it says; of `run`, `submit` and `show --follow`: the goal was met, or the "
    "trials are used up |",
    "| 1 | the experiment failed or gave no value; or it could not be done: records that cannot be "
    "read, a server that refuses or does not answer, `best` without a trial that has a value, "
    "`stop` that could not end all |",
    "| 2 | the input is wrong and nothing was started: a fault in a file, an option, a name or a "
    "path of which there is no run, a package that is missing |",
    "| 128 + n | signal n ended it, as 130 by Ctrl-C; what runs elsewhere goes on |",
    "",
)
_KINDS: Mapping[Any, str] = {int: "INTEGER", float: "NUMBER", Path: "FILE"}


def commands_page(app: typer.Typer) -> str:
    """Returns the page: each command with its summary, arguments and options."""
    group: Any = typer.main.get_command(app)
    lines = list(_HEAD)
    for command, info in zip(group.commands.values(), app.registered_commands, strict=True):
        signature = inspect.signature(info.callback or commands_page, eval_str=True)
        kinds = {name: _plain(each.annotation) for name, each in signature.parameters.items()}
        lines += _lines(command, kinds)
    return "\n".join(lines).rstrip() + "\n"


def _plain(annotation: Any) -> Any:
    """Returns the type of one value of a parameter."""
    if get_origin(annotation) is Annotated or get_origin(annotation) is list:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _plain(get_args(annotation)[0])
    return annotation


def _lines(command: Any, kinds: Mapping[str, Any]) -> Iterator[str]:
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b")
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    words = [_word(each) for each in arguments]
    yield f"## {command.name}\n"
    yield f"`{' '.join(['katibflow', command.name, *words, '[OPTIONS]'])}`\n"
    yield f"{text.strip()}\n"
    shown = [line.strip() for line in examples.splitlines() if line.strip()][1:]
    if shown:
        yield "\n".join(["```text", *shown, "```\n"])
    for title, parameters in (("argument", arguments), ("option", options)):
        if parameters:
            yield f"| {title} | what | default |\n| --- | --- | --- |"
            yield from (_row(each, kinds.get(each.name)) for each in parameters)
            yield ""


def _word(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"


def _row(parameter: Any, kind: Any) -> str:
    if parameter.param_type_name == "argument":
        name, is_flag = f"`{parameter.metavar or parameter.name.upper()}`", False
    else:
        is_flag = parameter.is_flag
        name = ", ".join(f"`{each}`" for each in (*parameter.opts, *parameter.secondary_opts))
        name += "" if is_flag else f" `{parameter.metavar or _kind(kind)}`"
    value, default = parameter.default, ""
    if parameter.required:
        default = "required"
    elif is_flag and value and parameter.secondary_opts:
        default = f"`{parameter.opts[0]}`"
    elif value not in (None, False, (), []) and not callable(value):
        default = f"`{getattr(value, 'value', value)}`"
    cells = (name, parameter.help or "", default)
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _kind(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "|".join(str(each.value) for each in kind)
    return _KINDS.get(kind, "TEXT")


if __name__ == "__main__":
    from katibflow.cli.app import app

    sys.stdout.write(commands_page(app))
