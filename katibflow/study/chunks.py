"""A sequence in the order of its items' keys, which shares what has not changed with earlier ones.

A study changes one trial at a time and may have many thousands: a tuple would be copied whole for
each change. Here the items lie in pieces of some hundreds, and only one piece is copied.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any, Generic, TypeVar, overload

__all__ = ["Chunks"]

Item = TypeVar("Item")

_SIZE = 256
"""Items of a piece at most."""

_MANY = 64
"""Changed items from which on all pieces are made anew."""


class Chunks(Sequence[Item], Generic[Item]):
    """Items by ascending key, each key once; a value that never changes.

    It equals a tuple of the same items.

    Args:
        key: Returns the key of an item.
        items: The items in any order; a later one replaces an earlier one of the same key.
    """

    __slots__ = ("_chunks", "_key", "_length")

    def __init__(self, key: Callable[[Item], Any], items: Iterable[Item] = ()) -> None:
        by_key = {key(item): item for item in items}
        ordered = tuple(by_key[each] for each in sorted(by_key))
        self._key = key
        self._length = len(ordered)
        self._chunks: tuple[tuple[Item, ...], ...] = tuple(
            ordered[start : start + _SIZE] for start in range(0, len(ordered), _SIZE)
        )

    @classmethod
    def of(cls, key: Callable[[Item], Any], items: Iterable[Item]) -> Chunks[Item]:
        """Returns items as they are if they are of this kind already, with the same key."""
        if isinstance(items, Chunks) and items._key is key:
            return items
        return cls(key, items)

    def with_items(self, items: Iterable[Item]) -> Chunks[Item]:
        """Returns the sequence with more items, which replace items of the same keys."""
        items = tuple(items)
        if len(items) >= _MANY:
            return Chunks(self._key, chain(self, items))
        found = self
        for item in items:
            found = found._with(item)
        return found

    def without(self, key: Any) -> Chunks[Item]:
        """Returns the sequence without the item of a key; the same one if there is none."""
        index, place, is_there = self._find(key)
        if not is_there:
            return self
        chunk = self._chunks[index]
        rest = (*chunk[:place], *chunk[place + 1 :])
        return self._changed(index, (rest,) if rest else (), -1)

    def get(self, key: Any) -> Item | None:
        """Returns the item of a key, or None if there is none."""
        index, place, is_there = self._find(key)
        return self._chunks[index][place] if is_there else None

    def _with(self, item: Item) -> Chunks[Item]:
        index, place, is_there = self._find(self._key(item))
        if not self._chunks:
            return self._changed(0, ((item,),), 1)
        chunk = self._chunks[index]
        if is_there:
            return self._changed(index, ((*chunk[:place], item, *chunk[place + 1 :]),), 0)
        if len(chunk) < _SIZE:
            return self._changed(index, ((*chunk[:place], item, *chunk[place:]),), 1)
        # Items mostly come at the end, where a full piece stays whole.
        half = _SIZE if place == _SIZE else _SIZE // 2
        whole = (*chunk[:place], item, *chunk[place:])
        return self._changed(index, (whole[:half], whole[half:]), 1)

    def _find(self, key: Any) -> tuple[int, int, bool]:
        """Returns the piece where a key is or would be, its place there, and whether it is."""
        chunks, key_of = self._chunks, self._key
        if not chunks:
            return 0, 0, False
        last = len(chunks) - 1
        if key >= key_of(chunks[last][0]):
            index = last
        else:
            index = max(0, bisect_right(chunks, key, key=lambda chunk: key_of(chunk[0])) - 1)
        chunk = chunks[index]
        place = bisect_left(chunk, key, key=key_of)
        return index, place, place < len(chunk) and key_of(chunk[place]) == key

    def _changed(self, index: int, pieces: tuple[tuple[Item, ...], ...], more: int) -> Chunks[Item]:
        made: Chunks[Item] = Chunks.__new__(Chunks)
        made._key = self._key
        made._chunks = (*self._chunks[:index], *pieces, *self._chunks[index + 1 :])
        made._length = self._length + more
        return made

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        return chain.from_iterable(self._chunks)

    def __reversed__(self) -> Iterator[Item]:
        return chain.from_iterable(map(reversed, reversed(self._chunks)))

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        place = index + self._length if index < 0 else index
        if not 0 <= place < self._length:
            raise IndexError("the sequence has no such item")
        if place == self._length - 1:
            return self._chunks[-1][-1]
        starts = list(accumulate(map(len, self._chunks), initial=0))
        piece = bisect_right(starts, place) - 1
        return self._chunks[piece][place - starts[piece]]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Chunks):
            return self._chunks == other._chunks or tuple(self) == tuple(other)
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
