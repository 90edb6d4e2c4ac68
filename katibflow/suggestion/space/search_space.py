"""The search space: it turns the parameters into dimensions, and checks their feasible spaces.

Source of the rules: validateParameters in Katib's validator.go; its hyperopt service for
distributions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

from katibflow.errors import Fault
from katibflow.experiment.parsing import Parts
from katibflow.experiment.types import Distribution, FeasibleSpace, Parameter, ParameterType
from katibflow.suggestion.space.activity import Activity, Conditions
from katibflow.suggestion.space.dimensions import (
    EXACT,
    Choices,
    Dimension,
    Grid,
    Interval,
    Warped,
    decimal_of,
    plain,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Space", "dimension_of", "faults", "lowest", "space_faults", "space_of"]

_LARGEST_GRID = 2**53
"""Optuna stores a number as a double, so no grid may have more points than a double can count."""

_LEAST_OF_LOG = Decimal("1e-10")

_EASY = (1e-150, 1e150)
"""Widths of ranges whose square is a double, as samplers need it."""


@dataclass(frozen=True)
class Space:
    """All dimensions of an experiment, in the file's order, and the conditions of each."""

    dimensions: tuple[Dimension, ...]
    conditions: Conditions = field(default_factory=dict)

    @cached_property
    def _activity(self) -> Activity:
        return Activity(self.dimensions, self.conditions)

    @cached_property
    def _readers(self) -> tuple[tuple[str, Callable[[str], float | str]], ...]:
        return tuple((dimension.name, dimension.number) for dimension in self.dimensions)

    @property
    def size(self) -> int | None:
        """Returns the number of combinations, or None if it is not finite."""
        return self._activity.size

    def point(self, index: int) -> dict[str, str]:
        """Returns the combination of an index from 0 to below ``size``, the last one fastest."""
        return self._activity.point(index)

    def at(self, shares: Sequence[float]) -> dict[str, str]:
        """Returns the combination at a point of the unit cube (a share from 0 to 1 a dimension)."""
        return {
            dimension.name: dimension.at(share)
            for dimension, share in zip(self.dimensions, shares, strict=True)
        }

    def distributions(self) -> dict[str, BaseDistribution]:
        """Returns Optuna's distribution of each parameter."""
        return {dimension.name: dimension.distribution() for dimension in self.dimensions}

    def drawn(self, draw: Callable[[Dimension], float | str]) -> dict[str, str]:
        """Returns the assignments of the active parameters, in the file's order.

        Args:
            draw: Returns the sampler's number for a dimension. It is called for active dimensions
                only, and for each one after those that it depends on.
        """
        texts: dict[str, str] = {}
        for dimension in self._activity.order:
            if self._activity.is_active(dimension.name, texts):
                texts[dimension.name] = dimension.text(draw(dimension))
        return {d.name: texts[d.name] for d in self.dimensions if d.name in texts}

    def numbers(self, assignments: Mapping[str, str]) -> dict[str, float | str] | None:
        """Returns the sampler's numbers of the active parameters; None if one is not feasible.

        Other assignments are ignored.
        """
        numbers: dict[str, float | str] = {}
        texts: dict[str, str] = {}
        try:
            if not self.conditions:
                return {name: number(assignments[name]) for name, number in self._readers}
            for dimension in self._activity.order:
                if self._activity.is_active(dimension.name, texts):
                    text = texts[dimension.name] = assignments[dimension.name]
                    numbers[dimension.name] = dimension.number(text)
        except (KeyError, ValueError, ArithmeticError):
            return None
        return numbers


def space_of(parameters: Sequence[Parameter]) -> Space:
    """Returns the search space of parameters without faults."""
    dimensions = {parameter.name: dimension_of(parameter) for parameter in parameters}
    conditions = {
        parameter.name: {
            on: frozenset(dimensions[on].point(dimensions[on].index(text)) for text in texts)
            for on, texts in parameter.when.items()
        }
        for parameter in parameters
        if parameter.when is not None
    }
    return Space(tuple(dimensions.values()), conditions)


def dimension_of(parameter: Parameter) -> Dimension:
    """Returns the dimension of one parameter without faults."""
    space = parameter.feasible_space
    name = parameter.name
    if space.list is not None:
        items = tuple(dict.fromkeys(space.list))
        ordered = parameter.type is not ParameterType.CATEGORICAL and all(map(_is_number, items))
        return Choices(name, tuple(sorted(items, key=decimal_of)) if ordered else items, ordered)
    assert space.min is not None and space.max is not None
    log = space.distribution in (Distribution.LOG_UNIFORM, Distribution.LOG_NORMAL)
    normal = space.distribution in (Distribution.NORMAL, Distribution.LOG_NORMAL)
    low, high = decimal_of(space.min), decimal_of(space.max)
    low = _lowest(parameter, low)
    if _is_stepped(parameter):
        step = _step(parameter)
        whole = parameter.type is ParameterType.INT and step != step.to_integral_value()
        return _stepped(name, low, high, step, log=log, normal=normal, whole=whole)
    bounds = (space.min.strip() if low == decimal_of(space.min) else plain(low), space.max.strip())
    if float(low) == float(high):
        return Choices(name, bounds[:1], ordered=True)
    easy = log or _EASY[0] < float(high) - float(low) < _EASY[1]
    if normal or not easy:
        return Warped(name, float(low), float(high), log, normal, bounds)
    return Interval(name, *bounds, log)


def _stepped(
    name: str, low: Decimal, high: Decimal, step: Decimal, *, log: bool, normal: bool, whole: bool
) -> Dimension:
    size = int(EXACT.divide_int(EXACT.subtract(high, low), step)) + 1
    if size == 1:
        return Choices(name, (plain(low),), ordered=True)
    grid = Grid(name, low, step, size, whole)
    if not (log or normal):
        return grid
    half = EXACT.multiply(step, Decimal("0.5"))
    last = EXACT.add(low, EXACT.multiply(step, Decimal(size - 1)))
    bottom, top = EXACT.subtract(low, half), EXACT.add(last, half)
    if log and bottom <= 0:
        bottom = low
    bounds = (plain(low), plain(last))
    return Warped(name, float(bottom), float(top), log, normal, bounds, grid)


def _is_stepped(parameter: Parameter) -> bool:
    return parameter.type is ParameterType.INT or parameter.feasible_space.step is not None


def _step(parameter: Parameter) -> Decimal:
    """Returns the distance of the values; of an int it is at least 1."""
    text = parameter.feasible_space.step
    step = decimal_of(text) if text is not None else Decimal(1)
    return max(step, Decimal(1)) if parameter.type is ParameterType.INT and step > 0 else step


def _lowest(parameter: Parameter, low: Decimal) -> Decimal:
    """Returns the least value that can be tried.

    It is above 0 for logUniform. Where min is not, it is the first step above 0, or 1e-10 without
    steps, as in Katib's Optuna service.
    """
    if parameter.feasible_space.distribution is not Distribution.LOG_UNIFORM or low > 0:
        return low
    if not _is_stepped(parameter):
        return _LEAST_OF_LOG
    step = _step(parameter)
    steps = EXACT.divide_int(EXACT.minus(low), step) + 1
    return EXACT.add(low, EXACT.multiply(steps, step))


def lowest(parameter: Parameter) -> str | None:
    """Returns the least value of a range without faults that can be tried; None for a list."""
    text = parameter.feasible_space.min
    return None if text is None else plain(_lowest(parameter, decimal_of(text)))


def _is_number(text: str) -> bool:
    try:
        decimal_of(text)
    except ValueError:
        return False
    return True


def faults(parts: Parts) -> Iterator[Fault]:
    """Yields the faults of the parameters and their feasible spaces."""
    if parts.complete and not parts.parameters and not parts.searches_architecture:
        yield Fault("spec.parameters", "an empty list", "at least one parameter")
    names: set[str] = set()
    for index, parameter in parts.parameters:
        where = f"spec.parameters[{index}]"
        if parameter.name in names:
            yield Fault(f"{where}.name", f'"{parameter.name}" again', "a name used once")
        names.add(parameter.name)
        yield from space_faults(parameter, where)


def space_faults(parameter: Parameter, path: str) -> Iterator[Fault]:
    """Yields the faults of the type and feasible space of the parameter at ``path``."""
    space = parameter.feasible_space
    if parameter.parameter_type is None and space.list is None:
        yield Fault(f"{path}.parameterType", "", ", ".join(ParameterType))
        return
    where = f"{path}.feasibleSpace"
    is_range = any(text is not None for text in (space.min, space.max, space.step))
    if space.list is not None:
        if is_range:
            yield Fault(where, "list next to min, max or step", "one or the other")
        if not space.list:
            yield Fault(f"{where}.list", "an empty list", "at least one value")
        if parameter.type in (ParameterType.DOUBLE, ParameterType.INT):
            yield from _number_faults(
                parameter, {f"list[{index}]": item for index, item in enumerate(space.list)}, where
            )
        return
    if parameter.type in (ParameterType.CATEGORICAL, ParameterType.DISCRETE):
        yield Fault(f"{where}.list", "", f"the values of the {parameter.type} parameter")
        if is_range:
            yield Fault(where, "min, max or step", f"only list, for {parameter.type}")
        return
    bounds = {"min": space.min, "max": space.max}
    missing = [name for name, text in bounds.items() if text is None or not text.strip()]
    for name in missing:
        yield Fault(f"{where}.{name}", "", f"a number, for {parameter.type}")
    given = {
        name: text
        for name, text in (*bounds.items(), ("step", space.step))
        if text is not None and name not in missing
    }
    wrong = list(_number_faults(parameter, given, where))
    yield from wrong
    if not missing and not wrong:
        yield from _range_faults(parameter, space, where)


def _number_faults(parameter: Parameter, texts: Mapping[str, str], where: str) -> Iterator[Fault]:
    is_int = parameter.type is ParameterType.INT
    for key, text in texts.items():
        try:
            value = decimal_of(text)
            fits = not is_int or key == "step" or value == value.to_integral_value()
        except ValueError:
            fits = False
        if not fits:
            allowed = "a whole number" if is_int and key != "step" else "a finite number"
            yield Fault(f"{where}.{key}", f'"{text}"', allowed)


def _range_faults(parameter: Parameter, space: FeasibleSpace, where: str) -> Iterator[Fault]:
    assert space.min is not None and space.max is not None
    low, high = decimal_of(space.min), decimal_of(space.max)
    if low > high:
        yield Fault(f"{where}.max", f'"{space.max}"', f"at least min, {space.min}")
        return
    if space.distribution is Distribution.LOG_NORMAL and low <= 0:
        yield Fault(f"{where}.min", f'"{space.min}"', f"above 0, for {space.distribution}")
    is_stepped = _is_stepped(parameter)
    step = _step(parameter)
    if (step > 0 or not is_stepped) and (lowest := _lowest(parameter, low)) > high:
        allowed = f"at least {plain(lowest)}, for {space.distribution}"
        yield Fault(f"{where}.max", f'"{space.max}"', allowed)
    if not is_stepped:
        return
    width = EXACT.subtract(high, low)
    if step <= 0:
        yield Fault(f"{where}.step", f'"{space.step}"', "above 0")
    elif space.step is not None and low < high and step > width:
        yield Fault(f"{where}.step", f'"{space.step}"', f"at most max - min, {plain(width)}")
    elif EXACT.divide_int(width, step) >= _LARGEST_GRID:
        yield Fault(f"{where}.step", f'"{space.step or 1}"', "one with fewer than 2**53 values")
