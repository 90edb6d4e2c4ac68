"""Parses one TensorBoard event with protobuf's own classes, and only the fields of scalars.

Source: ``event.proto`` and ``summary.proto`` in ``tensorflow/core``, ``tensor.proto``,
``tensor_shape.proto`` and ``types.proto`` in its ``framework``, ``lib/hash/crc32c.h`` for the mask.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["EVENT_PACKAGES", "Scalar", "checksum", "scalars"]

EVENT_PACKAGES = ("protobuf", "google-crc32c")
"""Packages that reading event files needs, as ``katibflow/steps/pins.json`` names them."""

_FIELDS: Mapping[str, str] = {
    "Event": "optional double wall_time 1, optional int64 step 2, optional Summary summary 5",
    "Summary": "repeated Value value 1",
    "Value": "optional bytes tag 1, optional float simple_value 2, optional Tensor tensor 8",
    "Tensor": "optional int32 dtype 1, optional Shape tensor_shape 2, optional bytes content 4, "
    "repeated float float_val 5, repeated double double_val 6, repeated int32 int_val 7, "
    "repeated int64 int64_val 10, repeated bool bool_val 11, repeated int32 half_val 13, "
    "repeated uint32 uint32_val 16, repeated uint64 uint64_val 17",
    "Shape": "repeated Size dim 2",
    "Size": "optional int64 size 1",
}
"""Each message's fields: label, type, name and number. A tag is bytes, so that one that is not
UTF-8 can be read too."""


@dataclass(frozen=True)
class Scalar:
    """One value of an event: ``time`` in seconds since the epoch."""

    tag: str
    value: float
    step: int
    time: float


def scalars(event: bytes) -> list[Scalar]:
    """Returns the scalars in an ``Event`` and ignores everything else in the message.

    Raises:
        ValueError: The bytes are not an ``Event``.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        message = _event_type().FromString(event)
    except DecodeError as error:
        raise ValueError("a message is cut, or none at all") from error
    found = []
    for item in message.summary.value:
        value = None
        if item.HasField("simple_value"):
            value = _shortest(item.simple_value)
        elif item.HasField("tensor"):
            value = _number(item.tensor)
        if value is not None:
            tag = item.tag.decode("utf-8", "replace")
            found.append(Scalar(tag, value, message.step, message.wall_time))
    return found


@cache
def _event_type() -> Any:
    from google.protobuf.descriptor_pb2 import (  # type: ignore[import-untyped]
        FileDescriptorProto,
    )
    from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]
    from google.protobuf.message_factory import (  # type: ignore[import-untyped]
        GetMessageClass,
    )

    file = FileDescriptorProto(name="events.proto", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for label, kind, field, number in (text.split() for text in fields.split(", ")):
            message.field.add(
                name=field,
                number=int(number),
                label=f"LABEL_{label.upper()}",
                type="TYPE_MESSAGE" if kind in _FIELDS else f"TYPE_{kind.upper()}",
                type_name=f".{kind}" if kind in _FIELDS else None,
            )
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("Event"))


def _half(bits: int) -> float:
    return _one("<e", struct.pack("<H", bits & 0xFFFF))


def _bfloat(bits: int) -> float:
    return _shortest(_one("<f", struct.pack("<I", (bits & 0xFFFF) << 16)))


def _shortest(value: float) -> float:
    """Returns the shortest decimal that is the same float in 32 bits: 0.1, not 0.10000000149."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.unpack("<f", struct.pack("<f", short))[0] == value:
                return short
        except OverflowError:
            continue
    return value


_TYPES: Mapping[int, tuple[str, str, Callable[[Any], float]]] = {
    1: ("<f", "float_val", _shortest),
    2: ("<d", "double_val", float),
    3: ("<i", "int_val", float),
    4: ("<B", "int_val", float),
    5: ("<h", "int_val", float),
    6: ("<b", "int_val", float),
    9: ("<q", "int64_val", float),
    10: ("<?", "bool_val", float),
    14: ("<H", "half_val", _bfloat),
    19: ("<H", "half_val", _half),
    22: ("<I", "uint32_val", float),
    23: ("<Q", "uint64_val", float),
}
"""DataType to its form in ``tensor_content``, its own field, and the meaning of a value there."""


def _number(tensor: Any) -> float | None:
    """Returns the value of a ``TensorProto`` that holds one number, or None for any other."""
    if tensor.dtype not in _TYPES or any(each.size != 1 for each in tensor.tensor_shape.dim):
        return None
    form, field, meaning = _TYPES[tensor.dtype]
    values: Iterable[Any] = getattr(tensor, field)
    if tensor.content:
        if len(tensor.content) != struct.calcsize(form):
            return None
        values = struct.unpack(form, tensor.content)
    numbers = [meaning(value) for value in values]
    return numbers[0] if len(numbers) == 1 else None


def _one(form: str, data: bytes) -> float:
    return float(struct.unpack(form, data)[0])


def checksum(data: bytes | bytearray) -> int:
    """Returns the masked CRC-32C of a record's length or data."""
    import google_crc32c

    crc: int = google_crc32c.value(bytes(data))
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
