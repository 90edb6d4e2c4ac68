"""The few parts of TensorBoard's event files that hold scalars: records, events, tensors.

TFRecord framing and the protobuf wire format, as far as `Event.summary.value` needs them; see
``tensorflow/core/lib/io/record_writer.h``, ``util/event.proto`` and ``framework/tensor.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

__all__ = ["Scalar", "checksum", "scalars"]


@dataclass(frozen=True)
class Scalar:
    """One value of an event: ``time`` in seconds since the epoch."""

    tag: str
    value: float
    step: int
    time: float


def scalars(event: bytes) -> list[Scalar]:
    """The scalars in an ``Event``; other things in it are passed over.

    Raises:
        ValueError: It is no such message.
    """
    time, step = 0.0, 0
    found: list[tuple[str, float]] = []
    for number, value in _fields(event):
        if number == 1 and isinstance(value, bytes):
            time = _one("<d", value)
        elif number == 2 and isinstance(value, int):
            step = _signed(value)
        elif number == 5 and isinstance(value, bytes):
            found += _summary(value)
    return [Scalar(tag, value, step, time) for tag, value in found]


def _summary(data: bytes) -> Iterator[tuple[str, float]]:
    for number, item in _fields(data):
        if number != 1 or not isinstance(item, bytes):
            continue
        tag, scalar = "", None
        for key, value in _fields(item):
            if key == 1 and isinstance(value, bytes):
                tag = value.decode("utf-8", "replace")
            elif key == 2 and isinstance(value, bytes):
                scalar = _shortest(_one("<f", value))
            elif key == 8 and isinstance(value, bytes):
                scalar = _tensor(value)
        if scalar is not None:
            yield tag, scalar


def _float_bits(bits: int) -> float:
    return _shortest(_one("<f", struct.pack("<I", bits & 0xFFFFFFFF)))


def _half(bits: int) -> float:
    return _one("<e", struct.pack("<H", bits & 0xFFFF))


def _bfloat(bits: int) -> float:
    return _float_bits((bits & 0xFFFF) << 16)


def _plain(value: int) -> float:
    return float(_signed(value))


_TYPES: Mapping[int, tuple[str, int, Callable[[int], float] | None]] = {
    1: ("<f", 5, None),
    2: ("<d", 6, None),
    3: ("<i", 7, _plain),
    4: ("<B", 7, _plain),
    5: ("<h", 7, _plain),
    6: ("<b", 7, _plain),
    9: ("<q", 10, _plain),
    10: ("<?", 11, _plain),
    14: ("<H", 13, _bfloat),
    19: ("<e", 13, _half),
    22: ("<I", 16, float),
    23: ("<Q", 17, float),
}
"""DataType to its form in ``tensor_content``, its own field, and what a varint there means."""


def _tensor(data: bytes) -> float | None:
    """The value of a ``TensorProto`` with one number in it; None for every other."""
    dtype, content, values = 0, b"", dict[int, bytes | int]()
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number == 2 and isinstance(value, bytes):
            if not _is_single(value):
                return None
        elif number == 4 and isinstance(value, bytes):
            content = value
        else:
            values[number] = value
    if dtype not in _TYPES:
        return None
    form, field, meaning = _TYPES[dtype]
    own = values.get(field)
    if content:
        if len(content) != struct.calcsize(form):
            return None
        exact = _one(form, content)
        return _bfloat(int(exact)) if dtype == 14 else _rounded(form, exact)
    if own is None:
        return None
    if meaning is None:
        if not isinstance(own, bytes) or len(own) != struct.calcsize(form):
            return None
        return _rounded(form, _one(form, own))
    if isinstance(own, bytes):
        bits, end = _varint(own, 0)
        return meaning(bits) if end == len(own) else None
    return meaning(own)


def _is_single(shape: bytes) -> bool:
    """Whether a ``TensorShapeProto`` has one element."""
    for number, dimension in _fields(shape):
        if number == 2 and isinstance(dimension, bytes):
            sizes = [value for key, value in _fields(dimension) if key == 1]
            if sizes != [1]:
                return False
    return True


def _one(form: str, data: bytes) -> float:
    try:
        (value,) = struct.unpack(form, data)
    except struct.error as error:
        raise ValueError(str(error)) from error
    return float(value)


def _rounded(form: str, value: float) -> float:
    return _shortest(value) if form == "<f" else value


def _shortest(value: float) -> float:
    """The shortest decimal that is the same in 32 bits: 0.1, not 0.10000000149."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.unpack("<f", struct.pack("<f", short))[0] == value:
                return short
        except OverflowError:
            continue
    return value


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field of a message: varints as numbers, the rest as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(data, at)
            yield key >> 3, number
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("a field is cut")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70 and at < len(data):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ValueError("a number is cut")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def checksum(data: bytes | bytearray) -> int:
    """The masked CRC-32C of a record's length or data."""
    table = _table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        crc = number
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
