"""The operations of an architecture search: the kinds of layers to choose from, and their faults.

Source: Katib's ``pkg/suggestion/v1beta1/nas/{common/validation.py,enas/Operation.py}`` and
``darts/service.py``. Different on purpose: values are exact (``min`` plus whole steps), a discrete
parameter is a list as a categorical one, and ``skip_connection`` needs no parameters, as Katib's
own examples have it.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from katibflow.errors import Fault
from katibflow.experiment.architecture import ASSIGNED
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import NasConfig, Operation, Parameter, ParameterType
from katibflow.suggestion.space.search_space import dimension_of, space_faults

__all__ = [
    "MARKS",
    "MOST_LAYERS",
    "MOST_OPERATIONS",
    "SKIP",
    "Choice",
    "choices_of",
    "faults",
    "primitives_of",
    "quoted_text",
]

MARKS = frozenset("'\"\\")
"""Characters that no text may have which trials read between quotation marks."""

SKIP = "skip_connection"
"""The operation that passes its input on, which has nothing to choose."""

MOST_LAYERS = 128
"""The most layers of an architecture: each one is connected to all before it."""

MOST_OPERATIONS = 4096
"""The most operations that a layer may be chosen from."""

_WHERE = "spec.nasConfig"


@dataclass(frozen=True)
class Choice:
    """One operation that a layer may be.

    Attributes:
        index: Its number, from 0, in the order of the file.
        type: The operation's type, as ``convolution``.
        parameters: The name of each parameter with its value: a text from a list, or a number.
    """

    index: int
    type: str
    parameters: tuple[tuple[str, str | int | float], ...]

    def data(self) -> dict[str, Any]:
        """Returns the choice in Katib's keys."""
        return {"opt_id": self.index, "opt_type": self.type, "opt_params": dict(self.parameters)}


def choices_of(config: NasConfig) -> tuple[Choice, ...]:
    """Returns every combination of each operation's parameters, the last parameter fastest."""
    made = (
        (operation.operation_type, tuple(zip(names, values, strict=True)))
        for operation in config.operations
        for names in [[parameter.name for parameter in operation.parameters]]
        for values in itertools.product(*map(_values, operation.parameters))
    )
    return tuple(Choice(index, kind, parameters) for index, (kind, parameters) in enumerate(made))


def primitives_of(config: NasConfig) -> tuple[str, ...]:
    """Returns DARTS's names of the operations, as ``max_pooling_3x3``: one for each filter size.

    The sizes are the list of an operation's first parameter.
    """
    names: list[str] = []
    for operation in config.operations:
        kind = operation.operation_type
        if kind == SKIP:
            names.append(kind)
        else:
            sizes = operation.parameters[0].feasible_space.list or ()
            names += [f"{kind}_{size}x{size}" for size in sizes]
    return tuple(names)


def quoted_text(data: object) -> str:
    """Returns data as trials read it: JSON, with single quotation marks in place of double ones."""
    return json.dumps(data).replace('"', "'")


def _values(parameter: Parameter) -> Sequence[str | int | float]:
    if parameter.feasible_space.list is not None:
        return parameter.feasible_space.list
    number = int if parameter.type is ParameterType.INT else float
    dimension = dimension_of(parameter)
    assert dimension.size is not None
    return [number(dimension.point(index)) for index in range(dimension.size)]


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of ``nasConfig``, and of an algorithm that does not fit to it."""
    if parts.algorithm is None:
        return
    name = parts.algorithm.algorithm_name
    able = " or ".join(sorted(ASSIGNED))
    if not parts.searches_architecture:
        if name in ASSIGNED:
            yield Fault(_WHERE, "", f"graphConfig and operations, for algorithm {name}")
        return
    if parts.parameters:
        yield Fault("spec.parameters", "parameters next to nasConfig", "one or the other")
    if name not in ASSIGNED:
        yield Fault(_WHERE, f"it with algorithm {name}", f"algorithm {able}; or parameters")
    elif parts.nas_config is not None:
        yield from _graph_faults(parts.nas_config, name)
        yield from _operation_faults(parts.nas_config, name)


def _graph_faults(config: NasConfig, algorithm: str) -> Iterator[Fault]:
    graph, where = config.graph_config, f"{_WHERE}.graphConfig"
    layers = graph.num_layers
    if layers is None or not 1 <= layers <= MOST_LAYERS:
        found = "" if layers is None else str(layers)
        yield Fault(f"{where}.numLayers", found, f"1 to {MOST_LAYERS} layers")
    for name, sizes in (("inputSizes", graph.input_sizes), ("outputSizes", graph.output_sizes)):
        if not sizes and algorithm == "enas":
            yield Fault(f"{where}.{name}", "", "a list of sizes, as [32, 32, 3]")
        for index, size in enumerate(sizes):
            if size < 1:
                yield Fault(f"{where}.{name}[{index}]", str(size), "a whole number above 0")


def _operation_faults(config: NasConfig, algorithm: str) -> Iterator[Fault]:
    if not config.operations:
        yield Fault(f"{_WHERE}.operations", "", "at least one operation")
    sound = True
    for index, operation in enumerate(config.operations):
        for fault in _faults_of(operation, f"{_WHERE}.operations[{index}]", algorithm):
            sound = False
            yield fault
    if sound and algorithm == "enas":
        count = sum(map(_count, config.operations))
        if count > MOST_OPERATIONS:
            allowed = f"at most {MOST_OPERATIONS} combinations of parameters"
            yield Fault(f"{_WHERE}.operations", str(count), allowed)


def _count(operation: Operation) -> int:
    sizes = (
        len(parameter.feasible_space.list)
        if parameter.feasible_space.list is not None
        else dimension_of(parameter).size or 1
        for parameter in operation.parameters
    )
    return math.prod(sizes)


def _faults_of(operation: Operation, path: str, algorithm: str) -> Iterator[Fault]:
    if not operation.operation_type:
        yield Fault(f"{path}.operationType", "", "a text, as convolution")
    yield from _text_faults(operation.operation_type, f"{path}.operationType")
    if not operation.parameters and operation.operation_type != SKIP:
        yield Fault(f"{path}.parameters", "", "at least one parameter, as filter_size")
    names: set[str] = set()
    for index, parameter in enumerate(operation.parameters):
        where = f"{path}.parameters[{index}]"
        if parameter.name in names:
            yield Fault(f"{where}.name", f'"{parameter.name}" again', "a name used once")
        names.add(parameter.name)
        yield from _text_faults(parameter.name, f"{where}.name")
        yield from _parameter_faults(parameter, where)
        space = parameter.feasible_space
        for item, text in enumerate(space.list or ()):
            yield from _text_faults(text, f"{where}.feasibleSpace.list[{item}]")
        if algorithm == "darts" and not index and space.list is None:
            allowed = "a list of filter sizes, for algorithm darts"
            yield Fault(f"{where}.feasibleSpace", "no list", allowed)


def _parameter_faults(parameter: Parameter, where: str) -> Iterator[Fault]:
    if parameter.when is not None:
        yield Fault(f"{where}.when", "a condition", "none in an operation")
    wrong = list(space_faults(parameter, where))
    yield from wrong
    space = parameter.feasible_space
    if wrong or space.list is not None or parameter.type is ParameterType.INT:
        return
    if space.step is None:
        yield Fault(f"{where}.feasibleSpace.step", "", "a number above 0, in an operation")


def _text_faults(text: str, path: str) -> Iterator[Fault]:
    """Yields a fault of a text that trials could not read, as quotation marks enclose it there."""
    if MARKS & {*text}:
        yield Fault(path, text, "a text without quotation marks and backslashes")
