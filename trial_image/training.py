"""Trains a small convolutional network on MNIST, on one process or on several ranks.

Importing this module takes seconds (torch), so mnist.py checks everything else first.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, TensorDataset
from torchvision.datasets import MNIST  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable

    from mnist import Settings

__all__ = ["Net", "Scores", "TrainingError", "save", "train"]

_log = logging.getLogger("mnist")

# Of MNIST's training pixels, 0 to 1; one epoch of a small set teaches little without.
_MEAN = 0.1307
_DEVIATION = 0.3081


class TrainingError(Exception):
    """Training cannot start or cannot go on."""


class Scores(NamedTuple):
    """What an epoch's validation on the whole test set measured.

    Attributes:
        loss: Mean negative log-likelihood per image, in nats.
        accuracy: Share of images recognised, 0 to 1.
    """

    loss: float
    accuracy: float


class Net(nn.Module):
    """Two convolutions and two dense layers, with Katib's sizes and layer names.

    Args:
        dropout: Share of the 500 hidden units dropped in training, 0 to below 1.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(4 * 4 * 50, 500)
        self.fc2 = nn.Linear(500, 10)
        self.dropout = nn.Dropout(dropout)

    def forward(self, images: Tensor) -> Tensor:
        """Return log-probabilities (n, 10) of images (n, 1, 28, 28), normalised."""
        hidden = F.max_pool2d(F.relu(self.conv1(images)), 2)
        hidden = F.max_pool2d(F.relu(self.conv2(hidden)), 2)
        hidden = self.dropout(F.relu(self.fc1(hidden.flatten(1))))
        return F.log_softmax(self.fc2(hidden), dim=1)


def train(settings: Settings, report: Callable[[int, Scores], None]) -> nn.Module:
    """Train for the given epochs and validate after each.

    Every rank trains on its share of each epoch's images, `batch_size` at a time, and the
    gradients are averaged; validation scores cover the whole test set on every rank.

    Args:
        settings: What to train and where this process stands among the ranks.
        report: Called on rank 0 with the epoch, from 1, and its scores.

    Returns:
        The trained network, equal on all ranks.

    Raises:
        TrainingError: If the data cannot be fetched, the other ranks do not come within
            settings.timeout, or the loss is no longer a finite number.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        # Trials run side by side, often two ranks each: more threads only get in each other's way.
        torch.set_num_threads(1)
    use_cuda = not settings.no_cuda and torch.cuda.is_available()
    device = torch.device("cuda" if use_cuda else "cpu")
    with _process_group(settings):
        if settings.download:
            _fetch(settings)
        training, test = (_load(settings.data_dir, train=train) for train in (True, False))
        torch.manual_seed(settings.seed)
        network = Net(settings.dropout_rate).to(device)
        # From here on the ranks' random streams may differ (dropout); the weights may not.
        torch.manual_seed(settings.seed + settings.rank)
        model = DistributedDataParallel(network) if settings.world_size > 1 else network
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        sampler: DistributedSampler[int] = DistributedSampler(
            training,
            num_replicas=settings.world_size,
            rank=settings.rank,
            seed=settings.seed,
        )
        # A batch of indices at once is one tensor look-up instead of one per image.
        batches = DataLoader(
            training,
            batch_size=None,
            sampler=BatchSampler(sampler, settings.batch_size, drop_last=False),
        )
        for epoch in range(1, settings.epochs + 1):
            sampler.set_epoch(epoch)
            _train_epoch(model, batches, optimizer, device, epoch, settings)
            scores = _validate(network, test, device, settings)
            if not math.isfinite(scores.loss):
                raise TrainingError(
                    f"the loss is {scores.loss} after epoch {epoch}:"
                    f" training diverged with lr {settings.lr:g}, momentum {settings.momentum:g}"
                )
            if settings.rank == 0:
                report(epoch, scores)
    return network


def save(network: nn.Module, path: Path) -> None:
    """Save the weights; the file appears whole or not at all.

    Raises:
        OSError: If the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(network.state_dict(), file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _train_epoch(
    model: nn.Module,
    batches: DataLoader[tuple[Tensor, ...]],
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    epoch: int,
    settings: Settings,
) -> None:
    total = len(batches.dataset)  # type: ignore[arg-type]  # a TensorDataset has a length
    model.train()
    for index, (images, labels) in enumerate(batches):
        optimizer.zero_grad()
        loss = F.nll_loss(model(_pixels(images, device)), labels.to(device))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if settings.rank == 0 and index % settings.log_interval == 0:
            value = loss.item()
            seen = index * settings.batch_size * settings.world_size
            # A collector would take "loss=" of "loss=nan" for a number.
            text = f"loss={value:.4f}" if math.isfinite(value) else f"loss is {value}"
            _log.info(
                "Train Epoch: %d [%d/%d (%.0f%%)]\t%s",
                epoch,
                seen,
                total,
                100 * index / len(batches),
                text,
            )


@torch.no_grad()
def _validate(
    network: nn.Module, test: TensorDataset, device: torch.device, settings: Settings
) -> Scores:
    network.eval()
    images, labels = (part[settings.rank :: settings.world_size] for part in test.tensors)
    # Double precision, so that the sum over ranks hardly depends on their number.
    sums = torch.zeros(2, dtype=torch.float64, device=device)
    for start in range(0, len(labels), settings.test_batch_size):
        batch = slice(start, start + settings.test_batch_size)
        expected = labels[batch].to(device)
        output = network(_pixels(images[batch], device))
        sums[0] += F.nll_loss(output, expected, reduction="sum")
        sums[1] += (output.argmax(dim=1) == expected).sum()
    if settings.world_size > 1:
        dist.all_reduce(sums)
    loss, accuracy = (sums / len(test)).tolist()
    return Scores(loss, accuracy)


def _pixels(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device).float().div(255).sub(_MEAN).div(_DEVIATION)


def _load(directory: Path, *, train: bool) -> TensorDataset:
    """Return images (n, 1, 28, 28) as bytes, which is a quarter of floats, and labels (n,)."""
    data = MNIST(directory, train=train)
    return TensorDataset(data.data.unsqueeze(1), data.targets)


def _fetch(settings: Settings) -> None:
    """Download the real set where it is missing; rank 0 goes first, for ranks that share a disk."""
    if settings.rank > 0:
        dist.barrier()
    try:
        MNIST(settings.data_dir, download=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise TrainingError(f"cannot download MNIST to {settings.data_dir}: {reason[0]}") from error
    if settings.world_size > 1 and settings.rank == 0:
        dist.barrier()


@contextmanager
def _process_group(settings: Settings) -> Iterator[None]:
    if settings.world_size == 1:
        yield
        return
    try:
        dist.init_process_group(settings.backend, timeout=timedelta(seconds=settings.timeout))
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise TrainingError(
            f"rank {settings.rank} cannot join {settings.world_size} ranks at"
            f" {os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            f" with {settings.backend}: {reason[0]}"
        ) from error
    try:
        yield
    finally:
        dist.destroy_process_group()
