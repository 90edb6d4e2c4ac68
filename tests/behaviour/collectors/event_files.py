"""Writes TensorBoard's event files with nothing but the standard library.

The text of this module is also run inside trials, as part of a program of theirs.
"""

from __future__ import annotations

import struct


def crc(data: bytes) -> bytes:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    value ^= 0xFFFFFFFF
    return struct.pack("<I", (((value >> 15) | (value << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    size = struct.pack("<Q", len(data))
    return size + crc(size) + data + crc(data)


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def block(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def simple(tag: str, value: float) -> bytes:
    return block(1, tag.encode()) + varint(2 << 3 | 5) + struct.pack("<f", value)


def tensor(tag: str, dtype: int, *parts: bytes, shape: bytes = b"") -> bytes:
    return block(1, tag.encode()) + block(8, number(1, dtype) + block(2, shape) + b"".join(parts))


def event(*values: bytes, step: int = 0, time: float = 0.0) -> bytes:
    summary = b"".join(block(1, value) for value in values)
    return varint(1 << 3 | 1) + struct.pack("<d", time) + number(2, step) + block(5, summary)


def version() -> bytes:
    return varint(1 << 3 | 1) + struct.pack("<d", 1.0) + block(3, b"brain.Event:2")
