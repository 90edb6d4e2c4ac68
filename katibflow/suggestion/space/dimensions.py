"""One parameter's feasible values as a dimension that a sampler can search.

A dimension turns a trial's text into the number that a sampler works on, and back. The text
decides: a sampler's number is rounded to a feasible value at once, and read back from the text, so
that a study that is rebuilt from its history equals the live one.

The distributions are those of Katib's hyperopt service (``pkg/suggestion/v1beta1/hyperopt``):
normal has its mean in the middle of the range and the range is six standard deviations wide;
logUniform and logNormal are the same over the logarithm. Unlike there, nothing falls outside the
range.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["EXACT", "Choices", "Dimension", "Grid", "Interval", "Warped", "decimal_of", "plain"]

EXACT = Context(prec=5_000)
"""Any sum and product of two numbers that a double can hold, each with some thousand digits."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_NORMAL = NormalDist()

_MOST_KNOWN = 4096
"""The most values of one grid that are remembered."""

_SIGMAS = 3.0


def decimal_of(text: str) -> Decimal:
    """Returns the exact number that a text holds.

    Raises:
        ValueError: The text is no number, or one too large, or too near 0, for a double.
    """
    stripped = text.strip()
    if not _NUMBER.fullmatch(stripped):
        raise ValueError(f"{text!r} is not a number")
    value = Decimal(stripped)
    near = float(value)
    if math.isinf(near) or (near == 0.0 and value != 0):
        raise ValueError(f"{text!r} is no number that a double holds")
    return value


def plain(value: Decimal) -> str:
    """Returns the shortest text of a number that any language can read; 30 rather than 3E+1."""
    if value == value.to_integral_value():
        return str(int(value))
    if value.adjusted() > -7:
        return f"{value:f}".rstrip("0")
    sign, digits, _ = value.as_tuple()
    figures = "".join(map(str, digits)).rstrip("0")
    tail = f".{figures[1:]}" if figures[1:] else ""
    return f"{'-' if sign else ''}{figures[0]}{tail}e{value.adjusted()}"


class Dimension(Protocol):
    """Describes one parameter of the space."""

    @property
    def name(self) -> str:
        """Returns the parameter's name."""

    @property
    def size(self) -> int | None:
        """Returns the number of values, or None if it is not finite."""

    @property
    def ordered(self) -> bool:
        """Returns whether the values have an order, so that one can lie between two others."""

    def distribution(self) -> BaseDistribution:
        """Returns Optuna's distribution of the sampler's numbers."""

    def text(self, number: float | str) -> str:
        """Returns the feasible value, as a trial gets it, for one of the sampler's numbers."""

    def number(self, text: str) -> float | str:
        """Returns the sampler's number for a feasible value.

        Raises:
            ValueError: The text is no feasible value.
        """

    def at(self, share: float) -> str:
        """Returns the value at ``share`` (0 to 1) of the distribution's mass."""

    def share(self, text: str) -> float:
        """Returns the share of the distribution's mass at a feasible value, the reverse of `at`.

        Raises:
            ValueError: The text is no feasible value.
        """

    def point(self, index: int) -> str:
        """Returns the value of an index from 0, in the file's order; only for a known ``size``."""

    def index(self, text: str) -> int:
        """Returns the index of a feasible value, the reverse of `point`; only for a known ``size``.

        Raises:
            ValueError: The text is no feasible value.
        """


@dataclass(frozen=True)
class Choices:
    """A list of values; ``ordered`` if they are numbers, which a sampler may interpolate."""

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

    def share(self, text: str) -> float:  # noqa: D102
        return (self.items.index(text) + 0.5) / len(self.items)

    def point(self, index: int) -> str:  # noqa: D102
        return self.items[index]

    def index(self, text: str) -> int:  # noqa: D102
        return self.items.index(text)


@dataclass(frozen=True)
class Grid:
    """Evenly spaced numbers with equal chances: an int range, or a double range with a step.

    Attributes:
        whole: Whether only the whole part of a number is tried, for an int with a step that is no
            whole number; the step is above 1 then.
    """

    name: str
    low: Decimal
    step: Decimal
    size: int
    whole: bool = False

    @property
    def ordered(self) -> bool:  # noqa: D102
        return True

    def distribution(self) -> BaseDistribution:  # noqa: D102
        from optuna.distributions import IntDistribution

        return IntDistribution(0, self.size - 1)

    def text(self, number: float | str) -> str:  # noqa: D102
        return self.point(int(number))

    def number(self, text: str) -> float | str:  # noqa: D102
        known = self._known.get(text)
        if known is None:
            known = self._index(text)
            if len(self._known) < _MOST_KNOWN:
                self._known[text] = known
        return known

    @cached_property
    def _known(self) -> dict[str, int]:
        """The indices of texts that have been read, since exact arithmetic takes its time."""
        return {}

    def _index(self, text: str) -> int:
        value = decimal_of(text)
        offset = EXACT.subtract(value, self.low)
        index, rest = EXACT.divmod(offset, self.step)
        if self.whole and rest:
            index += 1
            rest = EXACT.subtract(value, decimal_of(self.point(int(index))))
        if rest or not 0 <= index < self.size:
            raise ValueError(f"{text} is not on the grid of {self.name}")
        return int(index)

    def at(self, share: float) -> str:  # noqa: D102
        return self.point(min(int(share * self.size), self.size - 1))

    def share(self, text: str) -> float:  # noqa: D102
        return (float(self.number(text)) + 0.5) / self.size

    def point(self, index: int) -> str:  # noqa: D102
        value = EXACT.add(self.low, EXACT.multiply(Decimal(index), self.step))
        return plain(value.to_integral_value(ROUND_FLOOR) if self.whole else value)

    def index(self, text: str) -> int:  # noqa: D102
        return int(self.number(text))

    def nearest(self, value: Decimal) -> int:
        """Returns the index of the point nearest to a value, also for values outside the range."""
        offset = EXACT.subtract(value, self.low)
        doubled = EXACT.add(EXACT.add(offset, offset), self.step)
        index = EXACT.divide_int(doubled, EXACT.add(self.step, self.step))
        return int(min(max(index, Decimal(0)), Decimal(self.size - 1)))


@dataclass(frozen=True)
class Interval:
    """All doubles of a range, uniform or over the logarithm, with the bounds as in the file."""

    name: str
    low: str
    high: str
    log: bool

    @property
    def size(self) -> None:  # noqa: D102
        return None

    @property
    def ordered(self) -> bool:  # noqa: D102
        return True

    def distribution(self) -> BaseDistribution:  # noqa: D102
        from optuna.distributions import FloatDistribution

        return FloatDistribution(float(self.low), float(self.high), log=self.log)

    def text(self, number: float | str) -> str:  # noqa: D102
        return _within(float(number), self.low, self.high)

    def number(self, text: str) -> float | str:  # noqa: D102
        value = float(text)
        low, high = self._ends
        if not low <= value <= high:
            raise ValueError(f"{text} is outside {self.name}'s range")
        return value

    @cached_property
    def _ends(self) -> tuple[float, float]:
        return float(self.low), float(self.high)

    def at(self, share: float) -> str:  # noqa: D102
        if not 0.0 < share < 1.0:
            return self.low if share <= 0.0 else self.high
        low, high = self._ends
        if self.log:
            return self.text(math.exp(_between(math.log(low), math.log(high), share)))
        return self.text(_between(low, high, share))

    def share(self, text: str) -> float:  # noqa: D102
        change = math.log if self.log else float
        where = change(float(self.number(text)))
        return _share(change(self._ends[0]), change(self._ends[1]), where)

    def point(self, index: int) -> str:  # noqa: D102
        raise ValueError(f"the values of {self.name} cannot be counted")

    def index(self, text: str) -> int:  # noqa: D102
        raise ValueError(f"the values of {self.name} cannot be counted")


@dataclass(frozen=True)
class Warped:
    """Numbers with unequal chances, and ranges that a sampler cannot calculate with.

    The former are normal and logNormal, and logUniform on a grid. The latter are ranges so wide or
    so narrow that their square is no double. The sampler's number is the share of the
    distribution's mass below the value, 0 to 1, so a sampler that is uniform there draws from the
    distribution.

    Attributes:
        grid: The feasible values; None for all doubles of the range.
        low: Lowest value; with a grid, half a step lower, so that the ends get their whole mass.
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

    @property
    def ordered(self) -> bool:  # noqa: D102
        return True

    def distribution(self) -> BaseDistribution:  # noqa: D102
        from optuna.distributions import FloatDistribution

        return FloatDistribution(0.0, 1.0)

    def text(self, number: float | str) -> str:  # noqa: D102
        return self.at(float(number))

    def number(self, text: str) -> float | str:  # noqa: D102
        return self.share(text)

    def at(self, share: float) -> str:  # noqa: D102
        if self.grid is None and not 0.0 < share < 1.0:
            return self.bounds[0] if share <= 0.0 else self.bounds[1]
        mean, deviation, low, high = self._scale
        if self.normal and deviation > 0.0:
            bottom, top = self._tails
            where = mean + deviation * _NORMAL.inv_cdf(_between(bottom, top, share))
        else:
            where = _between(low, high, share)
        value = math.exp(where) if self.log else where
        if self.grid:
            return self.grid.point(self.grid.nearest(Decimal(value)))
        return _within(value, *self.bounds)

    def share(self, text: str) -> float:  # noqa: D102
        if self.grid:
            self.grid.number(text)
        value = float(text)
        if not float(self.bounds[0]) <= value <= float(self.bounds[1]):
            raise ValueError(f"{text} is outside {self.name}'s range")
        mean, deviation, low, high = self._scale
        where = math.log(value) if self.log else value
        if self.normal and deviation > 0.0:
            bottom, top = self._tails
            return _share(bottom, top, _NORMAL.cdf((where - mean) / deviation))
        return _share(low, high, where)

    def point(self, index: int) -> str:  # noqa: D102
        if self.grid is None:
            raise ValueError(f"the values of {self.name} cannot be counted")
        return self.grid.point(index)

    def index(self, text: str) -> int:  # noqa: D102
        if self.grid is None:
            raise ValueError(f"the values of {self.name} cannot be counted")
        return self.grid.index(text)

    @cached_property
    def _scale(self) -> tuple[float, float, float, float]:
        """Returns mean, standard deviation, low and high, all on the scale of the distribution."""
        change = math.log if self.log else float
        first, last = (change(float(bound)) for bound in self.bounds)
        deviation = last / (2 * _SIGMAS) - first / (2 * _SIGMAS)
        return first / 2 + last / 2, deviation, change(self.low), change(self.high)

    @cached_property
    def _tails(self) -> tuple[float, float]:
        mean, deviation, low, high = self._scale
        return _NORMAL.cdf((low - mean) / deviation), _NORMAL.cdf((high - mean) / deviation)


def _within(value: float, low: str, high: str) -> str:
    """Returns the text of a double; a bound with more digits than a double keeps its own text."""
    if value <= float(low):
        return low
    return high if value >= float(high) else repr(value)


def _between(low: float, high: float, share: float) -> float:
    """Returns the point at a share of the distance, also if the distance is no double."""
    return low * (1.0 - share) + high * share


def _share(low: float, high: float, where: float) -> float:
    distance = high / 2 - low / 2
    if distance <= 0.0:
        return 0.5
    return min(max((where / 2 - low / 2) / distance, 0.0), 1.0)
