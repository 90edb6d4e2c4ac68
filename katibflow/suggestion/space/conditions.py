"""Checks ``when``, the conditions under which parameters are active."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.spelling import did_you_mean
from katibflow.experiment.types import Parameter, ParameterType
from katibflow.experiment.yaml_reader import some_of
from katibflow.suggestion.space.activity import in_order
from katibflow.suggestion.space.dimensions import Dimension
from katibflow.suggestion.space.search_space import dimension_of, space_faults, space_of

__all__ = ["MOST_NAMES", "MOST_VALUES", "faults"]

MOST_NAMES = 1_000
MOST_VALUES = 10_000


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the parameters' conditions."""
    known = {parameter.name: parameter for _, parameter in parts.parameters}
    too_many = list(_number_faults(parts))
    yield from too_many
    if too_many:
        return
    found: list[Fault] = []
    for index, parameter in parts.parameters:
        where = f"spec.parameters[{index}].when"
        if parameter.when is not None and not parameter.when:
            found.append(Fault(where, "an empty mapping", "a parameter's name and its values"))
        for on, texts in (parameter.when or {}).items():
            found += _condition_faults(parts, parameter, known, on, texts, f"{where}.{on}")
    yield from found
    if found or len(known) < len(parts.parameters) or not parts.complete:
        return
    circular = list(_circle_faults(parts))
    yield from circular
    if circular or any(not _is_right(parameter) for parameter in known.values()):
        return
    yield from _never_faults(parts, known)
    try:
        _ = space_of(tuple(known.values())).size
    except OverflowError as error:
        yield Fault("spec.parameters", str(error), "fewer parameters with when")


def _number_faults(parts: Parts) -> Iterator[Fault]:
    """Yields a fault if there is so much in ``when`` that checking it would take minutes."""
    names = values = 0
    for index, parameter in parts.parameters:
        names += len(parameter.when or {})
        values += sum(map(len, (parameter.when or {}).values()))
        for count, most, what in (
            (names, MOST_NAMES, "names"),
            (values, MOST_VALUES, "values"),
        ):
            if count > most:
                yield Fault(
                    f"spec.parameters[{index}].when",
                    f"{count} {what} up to here",
                    f"at most {most} {what} in all conditions together",
                )
                return


def _condition_faults(
    parts: Parts,
    parameter: Parameter,
    known: Mapping[str, Parameter],
    on: str,
    texts: tuple[str, ...],
    where: str,
) -> Iterator[Fault]:
    if on == parameter.name:
        yield Fault(where, "the parameter itself", "other parameters")
        return
    if on not in known:
        if parts.complete:
            others = sorted(known.keys() - {parameter.name})
            hint = did_you_mean(on, others)
            names = some_of(others) or "none, since there is no other"
            yield Fault(where, f'"{on}"{hint}', f"a parameter's name: {names}")
        return
    other = known[on]
    if not _is_countable(other):
        allowed = "a categorical, discrete or int parameter, or one with a list"
        yield Fault(where, f"{on}, a {other.type} with a range", allowed)
        return
    if not texts:
        yield Fault(where, "an empty list", f"a value of {on}, or some")
    if not _is_right(other):
        return
    dimension = dimension_of(other)
    listed = frozenset(other.feasible_space.list or ())
    allowed = _values(other)
    for position, text in enumerate(texts):
        if text not in listed and (listed or not _has(dimension, text)):
            path = where if len(texts) == 1 else f"{where}[{position}]"
            yield Fault(path, f'"{text}"', allowed)


def _is_countable(parameter: Parameter) -> bool:
    return parameter.feasible_space.list is not None or parameter.type in (
        ParameterType.INT,
        ParameterType.CATEGORICAL,
        ParameterType.DISCRETE,
    )


def _is_right(parameter: Parameter) -> bool:
    """Returns whether a parameter itself has no faults."""
    return next(space_faults(parameter, ""), None) is None


def _has(dimension: Dimension, text: str) -> bool:
    try:
        dimension.index(text)
    except (ValueError, ArithmeticError):
        return False
    return True


def _values(parameter: Parameter) -> str:
    space = parameter.feasible_space
    if space.list is not None:
        return f"a value of {parameter.name}: {some_of([*dict.fromkeys(space.list)])}"
    step = f" in steps of {space.step}" if space.step is not None else ""
    return f"a value of {parameter.name}: {space.min} to {space.max}{step}"


def _circle_faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of parameters that depend on themselves through others."""
    parents = {parameter.name: tuple(parameter.when or ()) for _, parameter in parts.parameters}
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]
        index = next(index for index, entry in parts.parameters if entry.name in circle)
        yield Fault(
            f"spec.parameters[{index}].when",
            f"a circle: {', which depends on '.join(circle)}",
            "parameters that do not depend on themselves",
        )


def _never_faults(parts: Parts, known: Mapping[str, Parameter]) -> Iterator[Fault]:
    """Yields the faults of conditions that can never hold, as others ask for other values."""
    conditions = space_of(tuple(known.values())).conditions
    needs: dict[str, dict[str, frozenset[str]]] = {}
    for name in in_order(tuple(known), conditions):
        own: dict[str, frozenset[str]] = {}
        for on, texts in conditions.get(name, {}).items():
            for each, values in ((on, texts), *needs[on].items()):
                own[each] = own[each] & values if each in own else values
        needs[name] = own
    for index, parameter in parts.parameters:
        empty = [on for on, values in needs[parameter.name].items() if not values]
        inherited = {
            on
            for parent in parameter.when or ()
            for on, values in needs[parent].items()
            if not values
        }
        for on in empty:
            if on not in inherited:
                yield Fault(
                    f"spec.parameters[{index}].when",
                    f"conditions that never hold together: no value of {on} meets them all",
                    "conditions that some trial meets",
                )
