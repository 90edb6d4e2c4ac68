"""Writes a small MNIST-like data set without network, from scikit-learn's handwritten digits.

    python3 make_digits.py [DIRECTORY] [--force]

The 1797 digits of 8x8 pixels become 1500 training and 297 test images of 28x28 pixels, as IDX
files in `DIRECTORY/MNIST/raw/`. The same versions of the libraries write the same bytes.
Needs scikit-learn and Pillow.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import idx

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TEST_SIZE", "TRAIN_SIZE", "default_directory", "main", "make"]

TRAIN_SIZE = 1500
TEST_SIZE = 297

_SHUFFLE_SEED = 20
# MNIST centres a digit of 20x20 pixels on an empty frame.
_DIGIT_SIDE = 20
_MARGIN = (idx.SIDE - _DIGIT_SIDE) // 2
_DARKEST = 16


def default_directory() -> Path:
    """Return the data directory: $MNIST_DATA_DIR, or `data/digits` beside this script."""
    named = os.environ.get("MNIST_DATA_DIR")
    return Path(named) if named else Path(__file__).resolve().parent / "data" / "digits"


def make(directory: Path, *, force: bool = False) -> bool:
    """Write the digits below a directory, unless they are there.

    Each file appears whole or not at all. Another data set is not overwritten.

    Args:
        directory: The data directory; made if it does not exist.
        force: Write in any case, whatever is there.

    Returns:
        True if the files were written, False if they were there already.

    Raises:
        idx.DataError: If the directory holds another valid data set and force is not given.
        OSError: If the directory cannot be written.
    """
    if not force:
        try:
            found = idx.sizes(directory)
        except idx.DataError:
            pass  # missing or broken: what follows cures it
        else:
            if found == (TRAIN_SIZE, TEST_SIZE):
                return False
            raise idx.DataError(
                f"{directory} holds another data set: {found[0]} training and {found[1]} test"
                f" images, the digits have {TRAIN_SIZE} and {TEST_SIZE};"
                " --force overwrites it"
            )
    images, labels = _digits()
    folder = idx.raw_folder(directory)
    folder.mkdir(parents=True, exist_ok=True)
    parts = (
        images[:TRAIN_SIZE],
        labels[:TRAIN_SIZE],
        images[TRAIN_SIZE:],
        labels[TRAIN_SIZE:],
    )
    for name, part in zip(idx.FILES, parts, strict=True):
        _write(folder / name, idx.encode(part.shape, part.tobytes()))
    return True


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return all digits, shuffled: images of shape (1797, 28, 28) and labels of shape (1797,)."""
    # Only here, so that finding the files in place takes no time.
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    small, labels = load_digits(return_X_y=True)
    # Rounded to bytes before the resize: Pillow resizes bytes in integer arithmetic, which is
    # the same on every machine, and cuts off what the bicubic filter overshoots.
    grey = np.rint(small.reshape(-1, 8, 8) * (255 / _DARKEST)).astype(np.uint8)
    images = np.zeros((len(grey), idx.SIDE, idx.SIDE), dtype=np.uint8)
    inner = slice(_MARGIN, _MARGIN + _DIGIT_SIDE)
    for image, digit in zip(images, grey, strict=True):
        larger = Image.fromarray(digit).resize((_DIGIT_SIDE, _DIGIT_SIDE), Image.Resampling.BICUBIC)
        image[inner, inner] = np.asarray(larger)
    # RandomState's stream is frozen by numpy, that of the newer generators is not.
    order = np.random.RandomState(_SHUFFLE_SEED).permutation(len(images))
    return images[order], labels[order].astype(np.uint8)


def _write(path: Path, content: bytes) -> None:
    # The process id keeps two makers of the same directory apart.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 if the data could not be written."""
    parser = argparse.ArgumentParser(
        prog="make_digits.py",
        description="Write scikit-learn's handwritten digits as an MNIST-like data set.",
    )
    parser.add_argument(
        "directory",
        nargs="?",
        default=None,
        help="data directory (default: $MNIST_DATA_DIR, or data/digits beside this script)",
    )
    parser.add_argument("--force", action="store_true", help="write even if data is there")
    given = parser.parse_args(arguments)
    if given.directory is not None and not given.directory.strip():
        parser.error("argument directory: must name a directory, got an empty string")
    directory = default_directory() if given.directory is None else Path(given.directory)
    if directory.exists() and not directory.is_dir():
        parser.error(f"argument directory: {directory} is not a directory")
    try:
        written = make(directory, force=given.force)
    except idx.DataError as error:
        print(f"make_digits.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"make_digits.py: cannot write {directory}: {error.strerror}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(
            f"make_digits.py: {error.name} is not installed: pip install scikit-learn pillow",
            file=sys.stderr,
        )
        return 1
    print(
        f"{directory}: {'wrote' if written else 'already holds'}"
        f" {TRAIN_SIZE} training and {TEST_SIZE} test images"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
