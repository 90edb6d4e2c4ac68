"""Trains the network that a trial of ENAS is given, on scikit-learn's handwritten digits.

    python3 enas_digits.py --num_epochs=3
        --architecture="[[0], [1, 1]]" --nn_config="{'num_layers': 2, ...}"

``architecture`` has a list for each layer: the number of its operation, then for the input and each
layer but the last before it 1 if its output is joined to that of the last one. ``nn_config`` says
what the numbers mean, with the sizes of the input (height, width, channels) and of the output. Both
may have single quotation marks, as Katib writes them. Operations: convolution,
separable_convolution, depthwise_convolution, reduction, skip_connection.

Each epoch ends with a line ``Validation-Accuracy=0.9``. Exit status: 0; 2 for bad arguments.
Source of the texts: Katib's ``examples/v1beta1/trial-images/enas-cnn-cifar10``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from digits import Digits, load, on_one_thread
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

__all__ = ["Network", "main", "read_text"]

_BATCH = 64


class Layer(nn.Module):
    """One operation: an activation, what the type says, and a normalization."""

    def __init__(self, kind: str, values: Mapping[str, Any], channels: int) -> None:
        super().__init__()
        size = int(values.get("filter_size", 3))
        stride = int(values.get("stride", 1))
        deep = channels * int(values.get("depth_multiplier", 1))
        filters = int(values.get("num_filter", 16))
        spatial = {"kernel_size": size, "stride": stride, "padding": size // 2, "bias": False}
        self.channels = filters
        if kind == "convolution":
            self.body = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, filters, **spatial))
        elif kind == "separable_convolution":
            by_depth = nn.Conv2d(channels, deep, groups=channels, **spatial)
            self.body = nn.Sequential(nn.ReLU(), by_depth, nn.Conv2d(deep, filters, 1, bias=False))
        elif kind == "depthwise_convolution":
            self.channels = deep
            self.body = nn.Sequential(
                nn.ReLU(), nn.Conv2d(channels, deep, groups=channels, **spatial)
            )
        elif kind == "reduction":
            self.channels = channels
            pool = int(values.get("pool_size", 2))
            pools = {"max_pooling": nn.MaxPool2d, "avg_pooling": nn.AvgPool2d}
            # An image of one pixel cannot be reduced: with ceil_mode it stays as it is.
            self.body = nn.Sequential(
                pools[values.get("reduction_type", "max_pooling")](pool, ceil_mode=True)
            )
        elif kind == "skip_connection":
            self.channels = channels
            self.body = nn.Sequential()
        else:
            raise ValueError(f"the operation {kind!r} is not known here")
        self.normalized = nn.BatchNorm2d(self.channels)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the layer's output."""
        return self.normalized(self.body(images))


class Network(nn.Module):
    """The network that an architecture describes, ended by an average over the image."""

    def __init__(self, architecture: Sequence[Sequence[int]], config: Mapping[str, Any]) -> None:
        super().__init__()
        if len(architecture) != config["num_layers"]:
            raise ValueError(f"found {len(architecture)} layers, not {config['num_layers']}")
        self.skips = [layer[1:] for layer in architecture]
        channels = [int(config["input_sizes"][2])]
        layers = []
        for (operation, *_), skips in zip(architecture, self.skips, strict=True):
            known = config["embedding"][str(operation)]
            joined = channels[-1] + sum(
                channels[before] for before, flag in enumerate(skips) if flag
            )
            layers.append(Layer(known["opt_type"], known["opt_params"], joined))
            channels.append(layers[-1].channels)
        self.layers = nn.ModuleList(layers)
        self.last = nn.Linear(channels[-1], int(config["output_sizes"][-1]))

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits of the classes."""
        outputs = [images]
        for layer, skips in zip(self.layers, self.skips, strict=True):
            joined = [outputs[-1], *(outputs[at] for at, flag in enumerate(skips) if flag)]
            outputs.append(layer(_side_by_side(joined)))
        return self.last(outputs[-1].mean((2, 3)))


def _side_by_side(images: Sequence[Tensor]) -> Tensor:
    """Returns the channels of all images together, each in the middle of the largest image."""
    height, width = (max(image.shape[axis] for image in images) for axis in (2, 3))
    framed = []
    for image in images:
        down, right = height - image.shape[2], width - image.shape[3]
        framed.append(pad(image, (right // 2, right - right // 2, down // 2, down - down // 2)))
    return torch.cat(framed, 1)


def read_text(text: str) -> Any:
    """Returns the data of a text in JSON, also with single quotation marks."""
    return json.loads(text.replace("'", '"'))


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and reports; returns the exit status."""
    parser = argparse.ArgumentParser(description="Trains a network that ENAS has drawn.")
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--nn_config", required=True)
    parser.add_argument("--num_epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=1500, help="images to train with")
    given = parser.parse_args(arguments)
    torch.manual_seed(0)
    try:
        network = Network(read_text(given.architecture), read_text(given.nn_config))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        print(f"the architecture cannot be built: {error!r}", file=sys.stderr)
        return 2
    with on_one_thread():
        _train(network, load(given.images), given.num_epochs)
    return 0


def _train(network: Network, digits: Digits, epochs: int) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for epoch in range(1, epochs + 1):
        network.train()
        for images, labels in digits.batches(_BATCH):
            optimizer.zero_grad()
            loss = cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
        network.eval()
        accuracy = digits.accuracy(network)
        print(f"epoch {epoch} Training-Loss={loss.item():.4f} Validation-Accuracy={accuracy:.4f}")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
