"""The search space: each parameter's feasibleSpace as a dimension that Optuna can search.

A dimension turns the text that a trial is given into the number a sampler works on, and back. The
text is the truth: a sampler's number is rounded to a feasible value at once, and read back from
the text, so that a study rebuilt from its history equals the live one.

Distributions as Katib's hyperopt service has them (``pkg/suggestion/v1beta1/hyperopt``): normal has
its mean in the middle of the range and the range is six standard deviations wide; logUniform and
logNormal are the same over the logarithm. Unlike there, nothing falls outside the range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

from katibflow.errors import Fault
from katibflow.experiment import Distribution, FeasibleSpace, Parameter, ParameterType
from katibflow.loading import Parts

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Choices", "Dimension", "Grid", "Interval", "Space", "Warped", "faults", "space_of"]

_NORMAL = NormalDist()
_SIGMAS = 3.0
_LARGEST_GRID = 2**53
"""Optuna keeps a number as a double, so no grid may have more points than that tells apart."""


class Dimension(Protocol):
    """One parameter of the space."""

    @property
    def name(self) -> str:
        """The parameter's name."""

    @property
    def size(self) -> int | None:
        """How many values there are; None when they cannot be counted."""

    def distribution(self) -> BaseDistribution:
        """Optuna's distribution over the sampler's numbers."""

    def text(self, number: float | str) -> str:
        """The feasible value, as a trial gets it, for one of the sampler's numbers."""

    def number(self, text: str) -> float | str:
        """The sampler's number for a feasible value.

        Raises:
            ValueError: The text is no feasible value.
        """

    def at(self, share: float) -> str:
        """The value at ``share`` (0 to below 1) of the distribution's mass."""

    def point(self, index: int) -> str:
        """The value of an index from 0, in the file's order; only where ``size`` is known."""


@dataclass(frozen=True)
class Choices:
    """A list; ``ordered`` when its values are numbers, which a sampler may then interpolate."""

    name: str
    items: tuple[str, ...]
    ordered: bool

    @property
    def size(self) -> int:  # noqa: D102 - as in the Protocol, here and below
        return len(self.items)

    def distribution(self) -> BaseDistribution:  # noqa: D102
        from optuna.distributions import CategoricalDistribution, IntDistribution

        if self.ordered:
            return IntDistribution(0, len(self.items) - 1)
        return CategoricalDistribution(self.items)

    def text(self, number: float | str) -> str:  # noqa: D102
        return self.items[int(number)] if self.ordered else str(number)

    def number(self, text: str) -> float | str:  # noqa: D102
        index = self.items.index(text)
        return index if self.ordered else text

    def at(self, share: float) -> str:  # noqa: D102
        return self.items[min(int(share * len(self.items)), len(self.items) - 1)]

    def point(self, index: int) -> str:  # noqa: D102
        return self.items[index]


@dataclass(frozen=True)
class Grid:
    """Evenly spaced numbers with equal chances: an int range, or a double range with a step."""

    name: str
    low: Decimal
    step: Decimal
    size: int

    def distribution(self) -> BaseDistribution:  # noqa: D102
        from optuna.distributions import IntDistribution

        return IntDistribution(0, self.size - 1)

    def text(self, number: float | str) -> str:  # noqa: D102
        return self.point(int(number))

    def number(self, text: str) -> float | str:  # noqa: D102
        index = self.nearest(_decimal(text))
        if _decimal(self.point(index)) != _decimal(text):
            raise ValueError(f"{text} is not on the grid of {self.name}")
        return index

    def at(self, share: float) -> str:  # noqa: D102
        return self.point(min(int(share * self.size), self.size - 1))

    def point(self, index: int) -> str:  # noqa: D102
        return _plain(self.low + index * self.step)

    def nearest(self, value: Decimal) -> int:
        """The index of the point nearest to a value, also for values outside."""
        index = ((value - self.low) / self.step).to_integral_value()
        return int(min(max(index, Decimal(0)), Decimal(self.size - 1)))


@dataclass(frozen=True)
class Interval:
    """All doubles of a range, uniform or over the logarithm; the bounds as the file has them."""

    name: str
    low: str
    high: str
    log: bool
    size: None = None

    def distribution(self) -> BaseDistribution:  # noqa: D102
        from optuna.distributions import FloatDistribution

        return FloatDistribution(float(self.low), float(self.high), log=self.log)

    def text(self, number: float | str) -> str:  # noqa: D102
        value = float(number)
        # A bound with more digits than a double holds is met by its own text, not the double's.
        if value <= float(self.low):
            return self.low
        return self.high if value >= float(self.high) else repr(value)

    def number(self, text: str) -> float | str:  # noqa: D102
        value = float(text)
        if not float(self.low) <= value <= float(self.high):
            raise ValueError(f"{text} is outside {self.name}'s range")
        return value

    def at(self, share: float) -> str:  # noqa: D102
        low, high = float(self.low), float(self.high)
        if self.log:
            return self.text(math.exp(math.log(low) + share * (math.log(high) - math.log(low))))
        return self.text(low + share * (high - low))

    def point(self, index: int) -> str:  # noqa: D102
        raise ValueError(f"the values of {self.name} cannot be counted")


@dataclass(frozen=True)
class Warped:
    """Numbers with unequal chances: normal and logNormal, and logUniform on a grid.

    The sampler's number is the share of the distribution's mass below the value, 0 to 1, so a
    sampler that is uniform there draws from the distribution.

    Attributes:
        grid: The feasible values; None for all doubles of the range.
        low: Lowest value; with a grid half a step lower, so that the ends get their whole mass.
        high: Highest value, widened likewise.
        log: Whether the distribution is over the logarithm.
        normal: Whether it is normal, else uniform.
        bounds: The range as the file has it, which widening does not move.
    """

    name: str
    low: float
    high: float
    log: bool
    normal: bool
    bounds: tuple[str, str]
    grid: Grid | None = None

    @property
    def size(self) -> int | None:  # noqa: D102
        return self.grid.size if self.grid else None

    def distribution(self) -> BaseDistribution:  # noqa: D102
        from optuna.distributions import FloatDistribution

        return FloatDistribution(0.0, 1.0)

    def text(self, number: float | str) -> str:  # noqa: D102
        return self.at(float(number))

    def number(self, text: str) -> float | str:  # noqa: D102
        if self.grid:
            self.grid.number(text)
        value = float(text)
        first, last = map(float, self.bounds)
        if not first <= value <= last:
            raise ValueError(f"{text} is outside {self.name}'s range")
        mean, deviation, low, high = self._scale()
        where = math.log(value) if self.log else value
        if not self.normal:
            share = (where - low) / (high - low)
        else:
            bottom, top = self._tails()
            share = (_NORMAL.cdf((where - mean) / deviation) - bottom) / (top - bottom)
        return min(max(share, 0.0), 1.0)

    def at(self, share: float) -> str:  # noqa: D102
        mean, deviation, low, high = self._scale()
        if not self.normal:
            where = low + share * (high - low)
        else:
            bottom, top = self._tails()
            where = mean + deviation * _NORMAL.inv_cdf(bottom + share * (top - bottom))
        value = math.exp(where) if self.log else where
        if self.grid:
            return self.grid.point(self.grid.nearest(Decimal(value)))
        if value <= float(self.bounds[0]):
            return self.bounds[0]
        return self.bounds[1] if value >= float(self.bounds[1]) else repr(value)

    def point(self, index: int) -> str:  # noqa: D102
        if self.grid is None:
            raise ValueError(f"the values of {self.name} cannot be counted")
        return self.grid.point(index)

    def _scale(self) -> tuple[float, float, float, float]:
        """Mean, standard deviation, low and high, all on the scale of the distribution."""
        change = math.log if self.log else float
        first, last = (change(float(bound)) for bound in self.bounds)
        deviation = (last - first) / (2 * _SIGMAS)
        return (first + last) / 2, deviation, change(self.low), change(self.high)

    def _tails(self) -> tuple[float, float]:
        mean, deviation, low, high = self._scale()
        return _NORMAL.cdf((low - mean) / deviation), _NORMAL.cdf((high - mean) / deviation)


@dataclass(frozen=True)
class Space:
    """All dimensions of an experiment, in the file's order."""

    dimensions: tuple[Dimension, ...]

    @property
    def size(self) -> int | None:
        """How many combinations there are; None when they cannot be counted."""
        size = 1
        for dimension in self.dimensions:
            if dimension.size is None:
                return None
            size *= dimension.size
        return size

    def point(self, index: int) -> dict[str, str]:
        """The combination of an index from 0 to below ``size``; the last parameter goes fastest."""
        texts: dict[str, str] = {}
        for dimension in reversed(self.dimensions):
            assert dimension.size is not None
            index, position = divmod(index, dimension.size)
            texts[dimension.name] = dimension.point(position)
        return {dimension.name: texts[dimension.name] for dimension in self.dimensions}

    def at(self, shares: Sequence[float]) -> dict[str, str]:
        """The combination at a point of the unit cube, one share (0 to below 1) a dimension."""
        return {
            dimension.name: dimension.at(share)
            for dimension, share in zip(self.dimensions, shares, strict=True)
        }

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of each parameter."""
        return {dimension.name: dimension.distribution() for dimension in self.dimensions}

    def texts(self, numbers: Mapping[str, float | str]) -> dict[str, str]:
        """The assignments for a sampler's numbers."""
        return {
            dimension.name: dimension.text(numbers[dimension.name]) for dimension in self.dimensions
        }

    def numbers(self, assignments: Mapping[str, str]) -> dict[str, float | str] | None:
        """The sampler's numbers for assignments; None if one is missing or not feasible."""
        try:
            return {
                dimension.name: dimension.number(assignments[dimension.name])
                for dimension in self.dimensions
            }
        except (KeyError, ValueError, ArithmeticError):
            return None


def space_of(parameters: Sequence[Parameter]) -> Space:
    """The search space of parameters that `faults` has found nothing wrong with."""
    return Space(tuple(map(_dimension, parameters)))


def _dimension(parameter: Parameter) -> Dimension:
    space = parameter.feasible_space
    if space.list is not None:
        items = tuple(dict.fromkeys(space.list))
        ordered = parameter.type is not ParameterType.CATEGORICAL
        return Choices(
            parameter.name, tuple(sorted(items, key=_decimal)) if ordered else items, ordered
        )
    assert space.min is not None and space.max is not None
    log = space.distribution in (Distribution.LOG_UNIFORM, Distribution.LOG_NORMAL)
    normal = space.distribution in (Distribution.NORMAL, Distribution.LOG_NORMAL)
    low, high = _decimal(space.min), _decimal(space.max)
    if low == high or not _is_stepped(parameter):
        if low == high:
            return Choices(parameter.name, (space.min,), ordered=True)
        if normal:
            bounds = (space.min, space.max)
            return Warped(parameter.name, float(low), float(high), log, normal, bounds)
        return Interval(parameter.name, space.min, space.max, log)
    step = _step(parameter)
    grid = Grid(parameter.name, low, step, int((high - low) / step) + 1)
    if not (log or normal):
        return grid
    last = low + (grid.size - 1) * step
    bottom, top = low - step / 2, last + step / 2
    if log and bottom <= 0:
        bottom = low
    bounds = (_plain(low), _plain(last))
    if grid.size == 1:
        return Choices(parameter.name, (_plain(low),), ordered=True)
    return Warped(parameter.name, float(bottom), float(top), log, normal, bounds, grid)


def _is_stepped(parameter: Parameter) -> bool:
    return parameter.type is ParameterType.INT or parameter.feasible_space.step is not None


def _step(parameter: Parameter) -> Decimal:
    step = parameter.feasible_space.step
    return _decimal(step) if step is not None else Decimal(1)


def _decimal(text: str) -> Decimal:
    """A finite number.

    Raises:
        ValueError: The text is none.
    """
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a number") from None
    if not value.is_finite():
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _plain(value: Decimal) -> str:
    """The shortest text of a number that any language reads back; 30 rather than 3E+1."""
    if value == value.to_integral_value() and value.adjusted() < 30:
        return str(int(value))
    short = value.normalize()
    return f"{short:f}" if -7 < short.adjusted() < 30 else str(short).lower()


def faults(parts: Parts) -> Iterator[Fault]:
    """What is wrong with the parameters and their feasible spaces.

    Source: validateParameters in Katib's validator.go; its hyperopt service for distributions.
    """
    if parts.complete and not parts.parameters and parts.nas_config is None:
        yield Fault("spec.parameters", "an empty list", "at least one parameter")
    names: set[str] = set()
    for index, parameter in parts.parameters:
        where = f"spec.parameters[{index}]"
        if parameter.name in names:
            yield Fault(f"{where}.name", f'"{parameter.name}" again', "a name used once")
        names.add(parameter.name)
        if parameter.parameter_type is None and parameter.feasible_space.list is None:
            yield Fault(f"{where}.parameterType", "", ", ".join(ParameterType))
            continue
        yield from _space_faults(parameter, f"{where}.feasibleSpace")


def _space_faults(parameter: Parameter, where: str) -> Iterator[Fault]:
    space = parameter.feasible_space
    is_range = any(text is not None for text in (space.min, space.max, space.step))
    if space.list is not None:
        if is_range:
            yield Fault(where, "list next to min, max or step", "one or the other")
        if not space.list:
            yield Fault(f"{where}.list", "an empty list", "at least one value")
        if parameter.type is not ParameterType.CATEGORICAL:
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
            value = _decimal(text)
            fits = math.isfinite(float(value))
            fits = fits and (not is_int or value == value.to_integral_value())
        except ValueError:
            fits = False
        if not fits:
            allowed = "a whole number" if is_int else "a finite number"
            yield Fault(f"{where}.{key}", f'"{text}"', allowed)


def _range_faults(parameter: Parameter, space: FeasibleSpace, where: str) -> Iterator[Fault]:
    assert space.min is not None and space.max is not None
    low, high = _decimal(space.min), _decimal(space.max)
    if low > high:
        yield Fault(f"{where}.max", f'"{space.max}"', f"at least min, {space.min}")
        return
    if space.distribution in (Distribution.LOG_UNIFORM, Distribution.LOG_NORMAL) and low <= 0:
        yield Fault(f"{where}.min", f'"{space.min}"', f"above 0, for {space.distribution}")
    if not _is_stepped(parameter):
        return
    step = _step(parameter)
    if step <= 0:
        yield Fault(f"{where}.step", f'"{space.step}"', "above 0")
    elif space.step is not None and low < high and step > high - low:
        yield Fault(f"{where}.step", f'"{space.step}"', f"at most max - min, {high - low}")
    elif (high - low) / step >= _LARGEST_GRID:
        yield Fault(f"{where}.step", f'"{space.step or 1}"', "one with fewer than 2**53 values")
