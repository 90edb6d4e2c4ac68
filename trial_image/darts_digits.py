"""Searches an architecture by DARTS, on scikit-learn's handwritten digits.

    python3 darts_digits.py --algorithm-settings="{'num_epochs': 3, ...}"
        --search-space="['max_pooling_3x3', 'skip_connection']" --num-layers=3

One network holds all operations of the search space on each connection, each with a weight. Half of
the images train the network, the other half the weights (to the first order: without a step of the
network ahead). The last line is what weighs most, as Katib's image for it writes it:

    Best-Genotype=Genotype(normal=[[('max_pooling_3x3',0),...]],normal_concat=range(2,4),...)

Exit status: 0; 2 for bad arguments. Source: https://arxiv.org/abs/1806.09055; Katib's
``examples/v1beta1/trial-images/darts-cnn-cifar10`` for the settings and the texts.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from digits import Digits, load, on_one_thread
from enas_digits import read_text
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

__all__ = ["Supernet", "main"]

_INPUTS = 2
"""The inputs of a cell: the two cells before it."""

_SIZED = re.compile(r"(\w+)_([1-9])x\2")


def _after_activation(inside: int, outside: int, **more: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inside, outside, bias=False, **more),
        nn.BatchNorm2d(outside, affine=False),
    )


def _by_depth(channels: int, size: int, stride: int, dilation: int = 1) -> nn.Sequential:
    around = dilation * (size // 2)
    spatial = {"stride": stride, "padding": around, "dilation": dilation, "groups": channels}
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, size, bias=False, **spatial),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=False),
    )


def operation(name: str, channels: int, stride: int) -> nn.Module:
    """Returns an operation by its name in the search space.

    Raises:
        ValueError: The name is not known here.
    """
    if name == "skip_connection":
        return (
            nn.Sequential()
            if stride == 1
            else _after_activation(channels, channels, kernel_size=1, stride=stride)
        )
    kind, size = (found[1], int(found[2])) if (found := _SIZED.fullmatch(name)) else ("", 0)
    around = {"kernel_size": size, "stride": stride, "padding": size // 2}
    if kind == "separable_convolution":
        return nn.Sequential(_by_depth(channels, size, stride), _by_depth(channels, size, 1))
    if kind == "dilated_convolution":
        return _by_depth(channels, size, stride, dilation=2)
    if kind == "max_pooling":
        pool: nn.Module = nn.MaxPool2d(**around)
    elif kind == "avg_pooling":
        pool = nn.AvgPool2d(**around, count_include_pad=False)
    else:
        raise ValueError(f"the operation {name!r} is not known here")
    return nn.Sequential(pool, nn.BatchNorm2d(channels, affine=False))


class Mixed(nn.Module):
    """A connection that holds all operations; the last weight is that of no connection at all."""

    def __init__(self, names: Sequence[str], channels: int, stride: int) -> None:
        super().__init__()
        self.operations = nn.ModuleList(operation(name, channels, stride) for name in names)

    def forward(self, images: Tensor, weights: Tensor) -> Tensor:
        """Returns the sum of the operations' outputs, each times its weight."""
        pairs = zip(weights, self.operations, strict=False)
        return torch.stack([weight * each(images) for weight, each in pairs]).sum(0)


class Cell(nn.Module):
    """A cell: nodes that add up connections from its two inputs and the nodes before them."""

    def __init__(
        self, names: Sequence[str], nodes: int, inside: tuple[int, int], channels: int, **kind: bool
    ) -> None:
        super().__init__()
        self.reduces = kind["reduces"]
        first = 2 if kind["after_reduction"] else 1
        self.before_last = _after_activation(inside[0], channels, kernel_size=1, stride=first)
        self.last = _after_activation(inside[1], channels, kernel_size=1)
        self.nodes = nn.ModuleList(
            nn.ModuleList(
                Mixed(names, channels, 2 if self.reduces and source < _INPUTS else 1)
                for source in range(_INPUTS + node)
            )
            for node in range(nodes)
        )

    def forward(self, before: Tensor, last: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Returns the nodes' channels side by side."""
        states = [self.before_last(before), self.last(last)]
        for connections, shares in zip(self.nodes, weights, strict=True):
            made = [
                mixed(state, share)
                for mixed, state, share in zip(connections, states, shares, strict=True)
            ]
            states.append(torch.stack(made).sum(0))
        return torch.cat(states[_INPUTS:], 1)


class Supernet(nn.Module):
    """Cells one after another; those at a third and at two thirds halve the image."""

    def __init__(self, names: Sequence[str], layers: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.names = tuple(names)
        channels, nodes = int(settings["init_channels"]), int(settings["num_nodes"])
        stem = channels * int(settings["stem_multiplier"])
        conv = nn.Conv2d(1, stem, 3, padding=1, bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm2d(stem))
        inside, after = (stem, stem), False
        halving = {1} if layers == 2 else {layers // 3, 2 * layers // 3} if layers > 2 else set()
        self.cells = nn.ModuleList()
        for index in range(layers):
            reduces = index in halving
            channels *= 2 if reduces else 1
            kind = {"reduces": reduces, "after_reduction": after}
            self.cells.append(Cell(names, nodes, inside, channels, **kind))
            inside, after = (inside[1], channels * nodes), reduces
        self.last = nn.Linear(inside[1], 10)
        kinds = ["normal", "reduce"] if halving else ["normal"]
        self.alphas = nn.ModuleDict(
            {
                kind: nn.ParameterList(
                    1e-3 * torch.randn(_INPUTS + node, len(names) + 1) for node in range(nodes)
                )
                for kind in kinds
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits of the classes."""
        shares = {kind: [each.softmax(1) for each in self.alphas[kind]] for kind in self.alphas}
        before = last = self.stem(images)
        for cell in self.cells:
            made = cell(before, last, shares["reduce" if cell.reduces else "normal"])
            before, last = last, made
        return self.last(last.mean((2, 3)))

    def weights(self) -> list[nn.Parameter]:
        """Returns the parameters but those that weigh the operations."""
        weighing = {id(each) for each in self.alphas.parameters()}
        return [each for each in self.parameters() if id(each) not in weighing]

    def genotype(self) -> str:
        """Returns each node's two strongest connections with their strongest operations."""
        nodes = f"range({_INPUTS},{_INPUTS + len(self.alphas['normal'])})"
        genes = {
            kind: [self._gene(alpha) for alpha in self.alphas[kind]] if kind in self.alphas else []
            for kind in ("normal", "reduce")
        }
        text = ",".join(f"{kind}={gene!r},{kind}_concat={nodes}" for kind, gene in genes.items())
        return f"Genotype({text})".replace(" ", "")

    def _gene(self, alpha: Tensor) -> list[tuple[str, int]]:
        strength, chosen = alpha.detach()[:, :-1].max(1)
        best = strength.topk(_INPUTS).indices.tolist()
        return [(self.names[int(chosen[source])], source) for source in best]


def main(arguments: Sequence[str] | None = None) -> int:
    """Searches and reports; returns the exit status."""
    parser = argparse.ArgumentParser(description="Searches an architecture by DARTS.")
    parser.add_argument("--algorithm-settings", required=True)
    parser.add_argument("--search-space", required=True)
    parser.add_argument("--num-layers", type=int, required=True)
    parser.add_argument("--images", type=int, default=1500, help="images to train with")
    given = parser.parse_args(arguments)
    torch.manual_seed(0)
    try:
        settings = read_text(given.algorithm_settings)
        network = Supernet(read_text(given.search_space), given.num_layers, settings)
    except (KeyError, TypeError, ValueError) as error:
        print(f"the network cannot be built: {error!r}", file=sys.stderr)
        return 2
    with on_one_thread():
        print(f"Best-Genotype={_search(network, load(given.images), settings)}", flush=True)
    return 0


def _search(network: Supernet, digits: Digits, settings: Mapping[str, Any]) -> str:
    """Trains the network and the weights of its operations in turns; returns what was best."""
    epochs, batch = int(settings["num_epochs"]), settings["batch_size"]
    training = torch.optim.SGD(
        network.weights(),
        float(settings["w_lr"]),
        momentum=float(settings["w_momentum"]),
        weight_decay=float(settings["w_weight_decay"]),
    )
    weighing = torch.optim.Adam(
        network.alphas.parameters(),
        float(settings["alpha_lr"]),
        betas=(0.5, 0.999),
        weight_decay=float(settings["alpha_weight_decay"]),
    )
    lowest = float(settings["w_lr_min"])
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(training, epochs, eta_min=lowest)
    half = len(digits.labels) // 2
    to_train = Digits(digits.images[:half], digits.labels[:half], *_judged(digits))
    to_weigh = Digits(digits.images[half:], digits.labels[half:], *_judged(digits))
    size = half if batch is None else int(batch)
    best, genotype = -1.0, network.genotype()
    for epoch in range(1, epochs + 1):
        network.train()
        for trained, weighed in zip(to_train.batches(size), to_weigh.batches(size), strict=False):
            for optimizer, (images, labels) in ((weighing, weighed), (training, trained)):
                network.zero_grad()
                cross_entropy(network(images), labels).backward()
                nn.utils.clip_grad_norm_(network.weights(), float(settings["w_grad_clip"]))
                optimizer.step()
        slower.step()
        network.eval()
        accuracy = digits.accuracy(network)
        if accuracy > best:
            best, genotype = accuracy, network.genotype()
        print(f"epoch {epoch} Validation-Accuracy={accuracy:.4f}", flush=True)
    return genotype


def _judged(digits: Digits) -> tuple[Tensor, Tensor]:
    return digits.judged_images, digits.judged_labels


if __name__ == "__main__":
    sys.exit(main())
