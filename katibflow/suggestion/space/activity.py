"""Computes which parameters of a trial are active, and how many combinations there are.

A parameter with ``when`` is active if every parameter that it names is active and has one of the
given values. The parameters are visited in an order in which each follows the ones that it depends
on, as closely as possible. A parameter that is not active is called lost in this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from katibflow.suggestion.space.dimensions import Dimension

__all__ = ["MOST_STATES", "Activity", "Conditions", "in_order"]

Conditions = Mapping[str, Mapping[str, frozenset[str]]]
"""A parameter's name to the parameters it depends on, each with the values it must have."""

MOST_STATES = 100_000
"""The most ways for conditions to hold that are counted; more of them are an error."""


def in_order(names: Sequence[str], parents: Mapping[str, Iterable[str]]) -> list[str]:
    """Returns names in their own order, but each after its parents; without those in a cycle.

    Args:
        names: All names.
        parents: Some of the names, each with the names that must come before.
    """
    children: dict[str, list[str]] = {}
    for name in names:
        for parent in parents.get(name, ()):
            children.setdefault(parent, []).append(name)
    placed: dict[str, None] = {}
    for first in names:
        waiting = [first]
        while waiting:
            name = waiting.pop()
            if name not in placed and all(parent in placed for parent in parents.get(name, ())):
                placed[name] = None
                waiting += reversed(children.get(name, ()))
    return list(placed)


@dataclass(frozen=True)
class Activity:
    """The dimensions of a space and the conditions under which they are active, without cycles."""

    dimensions: tuple[Dimension, ...]
    conditions: Conditions

    @cached_property
    def order(self) -> tuple[Dimension, ...]:
        """Returns the dimensions, each after those that it depends on."""
        by_name = {dimension.name: dimension for dimension in self.dimensions}
        return tuple(by_name[name] for name in in_order(tuple(by_name), self.conditions))

    def is_active(self, name: str, texts: Mapping[str, str]) -> bool:
        """Returns whether a parameter is active, given the values of the active ones before it."""
        return all(texts.get(on) in values for on, values in self.conditions.get(name, {}).items())

    @property
    def size(self) -> int | None:
        """Returns the number of combinations, or None if it is not finite.

        Raises:
            OverflowError: The conditions hold in more than `MOST_STATES` different ways.
        """
        if any(dimension.size is None for dimension in self.dimensions):
            return None
        return self._counts[0][frozenset()]

    def point(self, index: int) -> dict[str, str]:
        """Returns the combination of an index from 0 to below ``size``, in the file's order."""
        texts: dict[str, str] = {}
        lost: _Lost = frozenset()
        for dimension, level, counts in zip(
            self.order, self._levels, self._counts[1:], strict=True
        ):
            for group in level[lost]:
                room = group.size * counts[group.lost]
                if index < room:
                    position, index = divmod(index, counts[group.lost])
                    if dimension.name not in lost:
                        texts[dimension.name] = dimension.point(group.at(position))
                    lost = group.lost
                    break
                index -= room
        return {d.name: texts[d.name] for d in self.dimensions if d.name in texts}

    @cached_property
    def _levels(self) -> list[dict[_Lost, list[_Group]]]:
        """By position in the order: the lost parameters before it, to the groups of its values."""
        levels: list[dict[_Lost, list[_Group]]] = []
        states: Iterable[_Lost] = [frozenset()]
        total = 0
        for dimension in self.order:
            level = {lost: list(self._groups(dimension, lost)) for lost in states}
            total += len(level)
            if total > MOST_STATES:
                raise OverflowError(f"conditions hold in more than {MOST_STATES} different ways")
            levels.append(level)
            states = {group.lost: None for groups in level.values() for group in groups}
        return levels

    @cached_property
    def _counts(self) -> list[dict[_Lost, int]]:
        """By position: the lost parameters before it, to the number of combinations after it."""
        counts: list[dict[_Lost, int]] = [{frozenset(): 1}]
        for level in reversed(self._levels):
            after = counts[-1]
            counts.append(
                {
                    lost: sum(group.size * after[group.lost] for group in groups)
                    for lost, groups in level.items()
                }
            )
        return counts[::-1]

    def _groups(self, dimension: Dimension, lost: _Lost) -> Iterator[_Group]:
        """Yields groups of a dimension's values; all values of a group lose the same."""
        children = self._children.get(dimension.name, {})
        after = lost - {dimension.name}
        if dimension.name in lost:
            yield _Group(1, after.union(children))
            return
        assert dimension.size is not None
        named = sorted({dimension.index(text) for texts in children.values() for text in texts})
        for index in named:
            text = dimension.point(index)
            missed = {child for child, texts in children.items() if text not in texts}
            yield _Group(1, after | missed, (index,))
        if len(named) < dimension.size:
            size = dimension.size - len(named)
            yield _Group(size, after.union(children), tuple(named), others=True)

    @cached_property
    def _children(self) -> Mapping[str, Mapping[str, frozenset[str]]]:
        """Maps a parameter's name to those that depend on it, with the values that each wants."""
        found: dict[str, dict[str, frozenset[str]]] = {}
        for child, needs in self.conditions.items():
            for on, values in needs.items():
                found.setdefault(on, {})[child] = values
        return found


_Lost = frozenset[str]
"""Names of later parameters that cannot become active any more."""


@dataclass(frozen=True)
class _Group:
    """Some values of a dimension by their indices: given ones, or all others; none if inactive.

    Attributes:
        size: Number of values.
        lost: The parameters that are lost after these values.
        indices: Indices of values, ascending.
        others: Whether the group holds all values but those of ``indices``.
    """

    size: int
    lost: _Lost
    indices: tuple[int, ...] = ()
    others: bool = False

    def at(self, position: int) -> int:
        """Returns the index of the value at a position, 0 to below ``size``, in the group."""
        if not self.others:
            return self.indices[position]
        for index in self.indices:
            if index > position:
                break
            position += 1
        return position
