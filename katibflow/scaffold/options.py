"""Reads the options of a Python script from its source, which is parsed and never run.

It knows calls of argparse's ``add_argument``, decorators of click, and the parameters of functions
that are typer's commands.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Kind", "ScriptOption", "metrics_of", "options_of"]


class Kind(StrEnum):
    """The type of an option's value; a SWITCH has none."""

    FLOAT = "float"
    INT = "int"
    TEXT = "text"
    SWITCH = "switch"
    FLAGS = "flags"


@dataclass(frozen=True)
class ScriptOption:
    """One option or argument of a script.

    Attributes:
        name: The name that the value has in the script.
        flag: The option as it is typed, as ``--lr``; empty for a positional argument.
        kind: The type of its value; FLAGS is a pair, as ``--augment`` and ``--no-augment``.
        default: The value without the option; None if there is none, or it cannot be read.
        choices: The values that are allowed; empty for any.
        low: The least value that the script allows; None for any.
        high: The greatest one.
        help: What the script says of it.
        is_required: Whether the script does not start without it.
    """

    name: str
    flag: str
    kind: Kind
    default: Any = None
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    help: str = ""
    is_required: bool = False

    @property
    def off(self) -> str:
        """The flag that says no, of a pair."""
        return f"--no-{self.flag.removeprefix('--')}"


_Constants = Mapping[str, Any]
_UNREADABLE = object()
_OPERATIONS: Mapping[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_TYPES = {"float": Kind.FLOAT, "int": Kind.INT, "FLOAT": Kind.FLOAT, "INT": Kind.INT}
_METRIC = re.compile(r"([A-Za-z][\w/.-]*)(\s*[=:]\s*)(?:$|[%{])")


def options_of(tree: ast.Module) -> list[ScriptOption]:
    """Returns the options of a script, each once, in the order of its source."""
    constants = dict(_constants(tree))
    found: dict[str, ScriptOption] = {}
    for option in (
        *_argparse(tree, constants),
        *_click(tree, constants),
        *_typer(tree, constants),
    ):
        found.setdefault(option.name, option)
    return list(found.values())


def metrics_of(tree: ast.Module) -> list[tuple[str, str]]:
    """Returns the names that a script seems to print before a value, each with the text between.

    They come from the texts in its calls: ``loss=`` before a value in an f-string, ``%`` or ``{}``.
    """
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        for text in _texts(node):
            for match in _METRIC.finditer(text):
                found.setdefault(match[1], match[2])
    return list(found.items())


def _texts(call: ast.Call) -> Iterator[str]:
    """Yields the texts of a call's arguments, each up to the next value."""
    for argument in call.args:
        for node in ast.walk(argument):
            if isinstance(node, ast.JoinedStr):
                yield from _before_values(node)
        plain = argument.left if isinstance(argument, ast.BinOp) else argument
        if isinstance(plain, ast.Call) and isinstance(plain.func, ast.Attribute):
            plain = plain.func.value  # "loss={}".format(loss)
        if isinstance(plain, ast.Constant) and isinstance(plain.value, str):
            yield from re.findall(r"[^%{]*[%{]", plain.value)


def _before_values(text: ast.JoinedStr) -> Iterator[str]:
    for before, after in zip(text.values, text.values[1:], strict=False):
        if isinstance(before, ast.Constant) and isinstance(after, ast.FormattedValue):
            yield str(before.value)


def _constants(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Yields the names of a module that are assigned a plain value, and enumerations' values."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = _value(node.value, {})
            if value is not _UNREADABLE:
                yield node.targets[0].id, value
        elif isinstance(node, ast.ClassDef) and any("Enum" in _name(b) for b in node.bases):
            members = {
                each.targets[0].id: _value(each.value, {})
                for each in node.body
                if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
            }
            yield node.name, {name: v for name, v in members.items() if v is not _UNREADABLE}


def _value(node: ast.AST | None, constants: _Constants) -> Any:
    """Returns a plain value, also one of constants and arithmetic, or `_UNREADABLE`."""
    if isinstance(node, ast.Name) and node.id in constants:
        return constants[node.id]
    if isinstance(node, ast.Attribute):  # a member of an enumeration
        members = constants.get(_name(node.value))
        return members.get(node.attr, _UNREADABLE) if isinstance(members, dict) else _UNREADABLE
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left, constants), _value(node.right, constants)
        try:
            return _OPERATIONS[type(node.op)](left, right)
        except (ArithmeticError, TypeError):
            return _UNREADABLE
    try:
        return ast.literal_eval(node) if isinstance(node, ast.expr) else _UNREADABLE
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _UNREADABLE


def _name(node: ast.AST | None) -> str:
    """Returns the last part of a dotted name; empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


class _Call:
    """The arguments of a call as plain values."""

    def __init__(self, call: ast.Call, constants: _Constants) -> None:
        self.nodes = {each.arg: each.value for each in call.keywords if each.arg}
        self.words = [
            each.value
            for each in call.args
            if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]
        self._constants = constants

    def get(self, *names: str) -> Any:
        """Returns the first keyword of these that has a plain value, or None."""
        for name in names:
            value = _value(self.nodes.get(name), self._constants)
            if value is not _UNREADABLE:
                return value
        return None

    @property
    def flag(self) -> str:
        """The first long flag, up to the ``/`` of a pair; empty for a positional argument."""
        flags = [word for word in self.words if word.startswith("-")]
        long = [word for word in flags if word.startswith("--")]
        return next(iter(long or flags), "").partition("/")[0]

    @property
    def name(self) -> str:
        plain = [word for word in self.words if not word.startswith("-")]
        text = str(self.get("dest") or (plain[0] if plain else self.flag))
        return re.sub(r"\W", "_", text.lstrip("-"))


def _kind(name: str, default: Any) -> Kind:
    if name in _TYPES:
        return _TYPES[name]
    if isinstance(default, float):
        return Kind.FLOAT
    return Kind.INT if isinstance(default, int) and not isinstance(default, bool) else Kind.TEXT


def _argparse(tree: ast.Module, constants: _Constants) -> Iterator[ScriptOption]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and _name(node.func) == "add_argument"):
            continue
        call = _Call(node, constants)
        if not call.words or call.get("nargs") not in (None, "?"):
            continue
        action = call.get("action") or _name(call.nodes.get("action"))
        default = call.get("default")
        kind = _kind(_name(call.nodes.get("type")), None)
        if action == "BooleanOptionalAction":
            kind = Kind.FLAGS
        elif action in ("help", "version"):
            continue
        elif action not in ("", "store"):
            kind = Kind.SWITCH
        is_required = not call.flag and call.get("nargs") is None
        yield ScriptOption(
            call.name,
            call.flag,
            kind,
            default,
            _choices(call.get("choices")),
            help=str(call.get("help") or ""),
            is_required=bool(call.get("required")) or is_required,
        )


def _choices(value: Any) -> tuple[Any, ...]:
    if isinstance(value, Mapping):
        return tuple(value.values())
    return tuple(value) if isinstance(value, list | tuple | set) else ()


def _click(tree: ast.Module, constants: _Constants) -> Iterator[ScriptOption]:
    for function in _functions(tree):
        for node in function.decorator_list:
            if not isinstance(node, ast.Call) or _name(node.func) not in ("option", "argument"):
                continue
            call = _Call(node, constants)
            default, kind, limits = call.get("default"), call.nodes.get("type"), (None, None)
            choices: tuple[Any, ...] = ()
            type_name = _name(kind)
            if isinstance(kind, ast.Call):
                type_name = _name(kind.func)
                values = [_value(each, constants) for each in kind.args]
                if type_name == "Choice" and values:
                    choices = _choices(values[0])
                of = _Call(kind, constants)
                pair = [*(v for v in values if v is not _UNREADABLE), None, None]
                limits = (of.get("min") or pair[0], of.get("max") or pair[1])
                limits = limits if type_name.endswith("Range") else (None, None)
                type_name = type_name.removesuffix("Range").lower()
            option = _kind(type_name, default)
            if any("/" in word for word in call.words):
                option = Kind.FLAGS
            elif call.get("is_flag"):
                option = Kind.SWITCH
            is_argument = _name(node.func) == "argument"
            yield ScriptOption(
                call.name,
                "" if is_argument else call.flag,
                option,
                default,
                choices,
                *limits,
                help=str(call.get("help") or ""),
                is_required=bool(call.get("required")) or (is_argument and default is None),
            )


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _typer(tree: ast.Module, constants: _Constants) -> Iterator[ScriptOption]:
    run = {
        _name(node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _name(node.func) == "run" and node.args
        if isinstance(node.func, ast.Attribute) and _name(node.func.value) == "typer"
    }
    for function in _functions(tree):
        decorators = (d.func if isinstance(d, ast.Call) else d for d in function.decorator_list)
        is_typers = any(
            isinstance(each, ast.Attribute)
            and each.attr == "command"
            and _name(each.value) != "click"
            for each in decorators
        )
        if function.name in run or (is_typers and "typer" in _imported(tree)):
            yield from _parameters(function, constants)


def _imported(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def _parameters(function: ast.FunctionDef, constants: _Constants) -> Iterator[ScriptOption]:
    arguments = function.args
    pairs = list(
        zip(
            reversed([*arguments.posonlyargs, *arguments.args]),
            [*reversed(arguments.defaults), *[None] * len(arguments.args)],
            strict=False,
        )
    )[::-1]
    pairs += list(zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True))
    for argument, default in pairs:
        yield _parameter(argument, default, constants)


def _parameter(argument: ast.arg, default: ast.expr | None, constants: _Constants) -> ScriptOption:
    kind, told = argument.annotation, None
    if isinstance(kind, ast.Subscript) and _name(kind.value) == "Annotated":
        parts = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        kind = parts[0]
        told = next((each for each in parts[1:] if isinstance(each, ast.Call)), None)
    if isinstance(default, ast.Call):
        told = default
        default = told.args[0] if told.args else None
    value = _value(default, constants)
    is_required = default is None or value is Ellipsis
    value = None if value in (_UNREADABLE, Ellipsis) else value
    call = None if told is None else _Call(told, constants)
    choices: tuple[Any, ...] = ()
    if isinstance(kind, ast.Subscript) and _name(kind.value) == "Literal":
        literal = _value(kind.slice, constants)
        choices = literal if isinstance(literal, tuple) else (literal,)
    members = constants.get(_name(kind))
    if isinstance(members, dict):
        choices = tuple(members.values())
    is_argument = told is not None and _name(told.func) == "Argument"
    is_argument = is_argument or (is_required and told is None)
    given = "" if call is None or is_argument else call.flag
    flag = "" if is_argument else given or f"--{argument.arg.replace('_', '-')}"
    option = Kind.FLAGS if _name(kind) == "bool" else _kind(_name(kind), value)
    if (
        option is Kind.FLAGS
        and given
        and call is not None
        and not any("/" in word for word in call.words)
    ):
        option = Kind.SWITCH
    return ScriptOption(
        argument.arg,
        flag,
        option,
        value,
        choices,
        None if call is None else call.get("min"),
        None if call is None else call.get("max"),
        help="" if call is None else str(call.get("help") or ""),
        is_required=is_required,
    )
