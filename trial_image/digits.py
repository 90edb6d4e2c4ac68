"""Scikit-learn's handwritten digits, 8 by 8 pixels, as tensors for the architecture searches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Digits", "load", "on_one_thread"]


@dataclass(frozen=True)
class Digits:
    """Images of one channel with their labels, to train with and to judge by."""

    images: Tensor
    labels: Tensor
    judged_images: Tensor
    judged_labels: Tensor

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the images to train with and their labels, in a new order each time."""
        for chosen in torch.randperm(len(self.labels)).split(size):
            # A batch of one image has no spread that it could be normalized by.
            if len(chosen) > 1:
                yield self.images[chosen], self.labels[chosen]

    def accuracy(self, classify: Callable[[Tensor], Tensor]) -> float:
        """Returns the share of the images to judge by that are classified rightly."""
        with torch.no_grad():
            right = classify(self.judged_images).argmax(1) == self.judged_labels
        return float(right.double().mean())


def load(count: int) -> Digits:
    """Returns the digits.

    Args:
        count: How many of the 1797 images to train with; as many as are left, 297 at most, judge.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    tensors = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)[order] / 16
    classes = torch.tensor(labels)[order]
    count = min(count, len(classes) - 297)
    judged = slice(count, count + 297)
    return Digits(tensors[:count], classes[:count], tensors[judged], classes[judged])


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Computes in one thread: trials run side by side, and their images are small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
