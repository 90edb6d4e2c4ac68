"""Makes a Python function into the program that each trial of an Experiment runs.

Like Katib's SDK it takes the function's source, so the function must contain all that it uses.
Unlike Katib's SDK it reports missing names before anything runs, and passes parameters as numbers,
not as texts. The Experiment around the program is made in `tuning`.
"""

from __future__ import annotations

import builtins
import inspect
import math
import symtable
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from katibflow.api.trial_packages import program_of_packages
from katibflow.errors import InputError
from katibflow.experiment.bootstrap import BOOTSTRAP
from katibflow.search import Space

__all__ = ["BOOTSTRAP", "Constant", "program_of", "source_of"]

Constant = str | int | float | bool | None
"""The value of a parameter that is not searched."""

MAX_PROGRAM_BYTES = 100_000
"""The greatest size of a program in bytes; Linux takes at most 128 KB in one argument."""

_READERS = {"double": "float", "int": "int"}


def program_of(
    function: Callable[..., Any],
    parameters: Mapping[str, Space | Constant],
    metric: str,
    packages: Sequence[str] = (),
    indices: Sequence[str] = (),
) -> str:
    """Returns a program that calls the function with ``name=value`` arguments and prints metrics.

    Args:
        function: The objective. It takes one mapping of parameters, as in Katib's SDK, or the
            parameters by their names. It returns the objective's value, or a mapping of metrics to
            values, or None if it reports them itself.
        parameters: Each parameter's space or constant value, by name.
        metric: The objective metric's name.
        packages: Requirements that pip installs first.
        indices: The package indices that pip uses, the first as its main one; by default its own.

    Raises:
        InputError: The function's source cannot be read, uses names of its surroundings, does not
            take the parameters, or is too long; or a value cannot be written as Python source.
    """
    name = getattr(function, "__name__", repr(function))
    source = source_of(function, name)
    _check_names(function, name, source)
    call = "**parameters" if _takes_names(function, name, parameters) else "parameters"
    lines = ["from __future__ import annotations", "", source, "", 'if __name__ == "__main__":']
    main = _install(packages, indices) + _main(name, call, parameters, metric)
    program = "\n".join(lines) + "\n" + textwrap.indent(main, "    ")
    size = len(program.encode())
    if size > MAX_PROGRAM_BYTES:
        raise InputError(
            f"objective {name}: found a program of {size} bytes; allowed: {MAX_PROGRAM_BYTES}; "
            "put the code into a package and name it in packages_to_install"
        )
    return program


def _install(packages: Sequence[str], indices: Sequence[str]) -> str:
    if not packages:
        return ""
    options = ["--index-url", *["--extra-index-url"] * (len(indices) - 1)]
    words = [word for pair in zip(options, indices, strict=False) for word in pair]
    return program_of_packages(packages, words)


def _main(name: str, call: str, parameters: Mapping[str, Space | Constant], metric: str) -> str:
    values = "".join(f"    {key!r}: {_value(key, space)},\n" for key, space in parameters.items())
    return f"""\
import sys

assigned = dict(argument.split("=", 1) for argument in sys.argv[1:])
parameters = {{
{values}}}
result = {name}({call})
if result is not None:
    for metric, value in (result if isinstance(result, dict) else {{{metric!r}: result}}).items():
        print(f"{{metric}}={{float(value)!r}}", flush=True)
"""


def _value(key: str, space: Space | Constant) -> str:
    if not isinstance(space, Space):
        return _literal(space, key)
    assigned = f"assigned[{key!r}]"
    if space.type in _READERS:
        return f"{_READERS[space.type]}({assigned})"
    items = (f"{text!r}: {_literal(item, key)}" for text, item in space.choices.items())
    return f"{{{', '.join(items)}}}[{assigned}]"


def _literal(value: object, parameter: str) -> str:
    """Returns a value as Python source that needs no import, also for a number of NumPy.

    Raises:
        InputError: There is no such source: a trial could not have this value.
    """
    # Not `repr`: that of a subclass, such as numpy.float64 or a member of an Enum, names its class.
    match value:
        case None | bool() | bytes() | complex() | range():
            return repr(value)
        case int():
            return int.__repr__(value)
        case float():
            plain = float.__repr__(value)
            return plain if math.isfinite(value) else f"float({plain!r})"
        case str():
            return str.__repr__(value)
        case list():
            return f"[{', '.join(_literal(item, parameter) for item in value)}]"
        case tuple():
            return f"({''.join(_literal(item, parameter) + ', ' for item in value)})"
        case dict():
            pairs = (
                f"{_literal(key, parameter)}: {_literal(item, parameter)}"
                for key, item in value.items()
            )
            return f"{{{', '.join(pairs)}}}"
        case set() | frozenset():
            # In an order that is the same in each process, as another program is a change.
            items = sorted(_literal(item, parameter) for item in value)
            return f"{'frozenset' if isinstance(value, frozenset) else 'set'}([{', '.join(items)}])"
    to_plain = None if isinstance(value, type) else getattr(value, "tolist", None)
    converted = to_plain() if callable(to_plain) else value
    if type(converted) is not type(value):  # a number or an array of NumPy, a tensor
        return _literal(converted, parameter)
    raise InputError(
        f"parameters: {parameter}: found a {type(value).__name__}; allowed: a text, a number, a "
        "boolean, None, or a list or mapping of these"
    )


def source_of(function: Callable[..., Any], name: str) -> str:
    """Returns a function's source, from ``def`` on.

    Raises:
        InputError: It is no function made with ``def``, or its source cannot be read.
    """
    allowed = "allowed: a function made with def, whose source can be read"
    if not inspect.isfunction(function):
        raise InputError(f"objective: found {function!r}; {allowed}")
    if name == "<lambda>":
        raise InputError(f"objective: found a lambda; {allowed}")
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise InputError(f"objective {name}: its source cannot be read: {error}; {allowed}") from (
            error
        )
    if not source.startswith("def "):
        first = source.split("\n", 1)[0]
        raise InputError(f'objective {name}: found "{first}"; allowed: def without a decorator')
    return source.rstrip()


def _check_names(function: Callable[..., Any], name: str, source: str) -> None:
    """Checks that the function uses no names of its surroundings, which a trial does not have."""
    future = "from __future__ import annotations\n"
    table = symtable.symtable(future + source, "objective", "exec")
    (body,) = (child for child in table.get_children() if child.get_name() == name)
    outside = (symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced())
    known = {*vars(builtins), name, "__name__", "__file__"}
    missing = sorted({*outside, *_globals(body), *function.__code__.co_freevars} - known)
    if missing:
        raise InputError(
            f"objective {name}: found {', '.join(missing)} of its surroundings, which trials do "
            "not have; allowed: what is imported or defined inside the function"
        )


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_global() and symbol.is_referenced():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


def _takes_names(
    function: Callable[..., Any], name: str, parameters: Mapping[str, Space | Constant]
) -> bool:
    """Returns whether the function takes the parameters by name rather than as one mapping."""
    signature = inspect.signature(function)
    names = list(signature.parameters)
    if len(names) == 1 and names[0] not in parameters:
        return False
    try:
        signature.bind(**parameters)
    except TypeError as error:
        raise InputError(
            f"objective {name}{signature}: {error}; allowed: one mapping of parameters, or the "
            f"parameters {', '.join(parameters)} by their names"
        ) from error
    return True
