"""IDX files of an MNIST-like data set: where they lie, how they are written, what is wrong.

Layout below a data directory, as torchvision.datasets.MNIST reads it: `MNIST/raw/` with the
four files in FILES. Big-endian; a header (two zero bytes, the element type, the number of
dimensions, each dimension as uint32) and then the elements.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

__all__ = ["FILES", "SIDE", "DataError", "encode", "raw_folder", "sizes"]

SIDE = 28
"""Height and width of an image, in pixels."""

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
"""Images and labels of the training set, then of the test set."""

_UINT8 = 8


class DataError(Exception):
    """A data set is missing or broken."""


def raw_folder(directory: Path) -> Path:
    """Return the folder below a data directory that holds the IDX files."""
    return directory / "MNIST" / "raw"


def encode(shape: tuple[int, ...], elements: bytes) -> bytes:
    """Return one IDX file of uint8 elements.

    Args:
        shape: Size of each dimension, the number of images or labels first.
        elements: One byte per element, the last dimension fastest.

    Raises:
        ValueError: If the number of elements is not the product of the shape.
    """
    if len(elements) != math.prod(shape):
        raise ValueError(f"shape {shape} asks for {math.prod(shape)} bytes, got {len(elements)}")
    header = struct.pack(f">HBB{len(shape)}I", 0, _UINT8, len(shape), *shape)
    return header + elements


def sizes(directory: Path) -> tuple[int, int]:
    """Return the number of images in the training and in the test set.

    Reads the headers only, so it is quick enough to run before anything heavy is imported.

    Args:
        directory: The data directory, see the module's text.

    Raises:
        DataError: If a file is missing, has another shape or element type, is shorter or
            longer than its header says, or if images and labels differ in number. One line.
    """
    shapes = [_shape(raw_folder(directory) / name, name) for name in FILES]
    for images, labels, name in (
        (shapes[0], shapes[1], FILES[0]),
        (shapes[2], shapes[3], FILES[2]),
    ):
        if images[1:] != (SIDE, SIDE) or len(labels) != 1:
            raise DataError(f"{name} and its labels have shapes {images} and {labels}")
        if images[0] != labels[0] or images[0] == 0:
            raise DataError(f"{name} has {images[0]} images and {labels[0]} labels")
    return shapes[0][0], shapes[2][0]


def _shape(path: Path, name: str) -> tuple[int, ...]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(4)
            dimensions = header[3] if header[:3] == bytes((0, 0, _UINT8)) and header[3:] else 0
            packed = file.read(4 * dimensions)
    except FileNotFoundError:
        raise DataError(f"{name} is missing") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from None
    if not dimensions or len(packed) != 4 * dimensions:
        raise DataError(f"{name} is not an IDX file of bytes")
    shape = struct.unpack(f">{dimensions}I", packed)
    expected = 4 + 4 * dimensions + math.prod(shape)
    if size != expected:
        raise DataError(f"{name} has {size} bytes, its header asks for {expected}")
    return shape
