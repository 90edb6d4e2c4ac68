"""The controller of ENAS, a network that draws networks. Import it late, because it imports torch.

An LSTM goes over the layers of a network to be made. For each layer it draws the operation, and by
attention over the layers before it which of them are connected to this one too. It learns by policy
gradient (REINFORCE): architectures whose reward is above a moving average become more likely.

Numbers are doubles and drawn from seeds of Python's, so that equal seeds and rewards give the same
architectures on any processor.

Source: https://arxiv.org/abs/1802.03268, and Katib's ``pkg/suggestion/v1beta1/nas/enas``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["Architecture", "Controller", "Sizes", "Tried", "Tuning"]

Architecture = tuple[tuple[int, ...], ...]
"""For each layer the index of its operation, and for each layer before it 1 if it is connected."""

_SPREAD = 0.1
"""Weights begin between this and its negative."""

_MOST = 100
"""The number of architectures that a step learns from, the last ones."""

_LEAST = 1e-6
"""The least distance of the wanted share of connections from 0 and 1, where it has no logarithm."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a controller.

    Attributes:
        layers: The number of layers of an architecture.
        operations: The number of operations that a layer may have.
        hidden: The length of the LSTM's state.
    """

    layers: int
    operations: int
    hidden: int


@dataclass(frozen=True)
class Tuning:
    """How a controller draws and learns; None leaves a part out.

    Attributes:
        temperature: Divides the logits; a higher one draws more evenly.
        tanh_constant: The bound of the logits.
        entropy_weight: The weight of the entropy, which keeps draws even.
        baseline_decay: How much of the average of rewards stays at a step, 0 to 1.
        learning_rate: Of Adam.
        skip_target: The wanted share of connections, 0 to 1.
        skip_weight: The weight of the distance from that share.
    """

    temperature: float | None
    tanh_constant: float | None
    entropy_weight: float | None
    baseline_decay: float
    learning_rate: float
    skip_target: float
    skip_weight: float | None


@dataclass(frozen=True)
class Tried:
    """An architecture that was tried, with its reward; a greater one is better."""

    architecture: Architecture
    reward: float


@dataclass(frozen=True)
class _Choices:
    """Choose, from logits, each layer's operation and which layers before it are connected."""

    operation: Callable[[Tensor], Tensor]
    skips: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Pass:
    """What one pass over architectures gives, a number for each of them."""

    likelihood: Tensor
    entropy: Tensor
    skip_penalty: Tensor


@contextmanager
def _one_thread() -> Iterator[None]:
    """Computes in one thread: the matrices are small, and threads would wait for each other."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)


class Controller:
    """Draws architectures, and learns from those that were tried."""

    def __init__(self, sizes: Sizes, tuning: Tuning, seed: int) -> None:
        self._sizes = sizes
        self._tuning = tuning
        hidden = sizes.hidden
        shapes = {
            "lstm": (2 * hidden, 4 * hidden),
            "start": (1, hidden),
            "embedding": (sizes.operations, hidden),
            "softmax": (hidden, sizes.operations),
            "attention_before": (hidden, hidden),
            "attention_now": (hidden, hidden),
            "attention": (hidden, 1),
        }
        generator = torch.Generator().manual_seed(seed)
        self._weights = {
            name: (
                (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * _SPREAD
            ).requires_grad_()
            for name, shape in shapes.items()
        }
        self._optimizer = torch.optim.Adam(self._weights.values(), lr=tuning.learning_rate)
        self._baseline = 0.0
        self._steps = 0
        self._tried: list[Tried] = []
        self._likelihoods: list[float] = []

    def draw(self, dice: random.Random) -> Architecture:
        """Returns a new architecture."""
        drawn: list[tuple[int, ...]] = []

        def choose_operation(logits: Tensor) -> Tensor:
            shares = torch.softmax(logits[0], 0).tolist()
            drawn.append((dice.choices(range(len(shares)), shares)[0],))
            return torch.tensor([drawn[-1][0]])

        def choose_skips(logits: Tensor) -> Tensor:
            chances = torch.sigmoid(2 * logits[0]).tolist()
            drawn[-1] += tuple(int(dice.random() < chance) for chance in chances)
            return torch.tensor([drawn[-1][1:]], dtype=torch.float64)

        with _one_thread(), torch.no_grad():
            self._over_layers(1, _Choices(choose_operation, choose_skips))
        return tuple(drawn)

    def learn(self, tried: Sequence[Tried], steps: int) -> None:
        """Learns from architectures that were tried, together with those of before.

        The weight of an architecture falls as it becomes less likely than when it was first learnt
        from (truncated importance sampling), so that none is driven away without a bound.

        Args:
            tried: The architectures that are new.
            steps: The number of steps of the optimizer.
        """
        with _one_thread():
            with torch.no_grad():
                likelihood = self._passed([each.architecture for each in tried]).likelihood
            self._tried = [*self._tried, *tried][-_MOST:]
            self._likelihoods = [*self._likelihoods, *likelihood.tolist()][-_MOST:]
            architectures = [each.architecture for each in self._tried]
            rewards = torch.tensor([each.reward for each in self._tried], dtype=torch.float64)
            before = torch.tensor(self._likelihoods, dtype=torch.float64)
            for _ in range(steps):
                self._step(architectures, rewards, before)

    def _step(self, architectures: list[Architecture], rewards: Tensor, before: Tensor) -> None:
        tuning = self._tuning
        seen = self._passed(architectures)
        self._steps += 1
        self._baseline += (1 - tuning.baseline_decay) * (rewards.mean().item() - self._baseline)
        # The average begins at 0, which its first steps have to make up for.
        correction = 1 - tuning.baseline_decay**self._steps
        advantage = rewards - (self._baseline / correction if correction else rewards.mean())
        share = torch.exp(torch.clamp(seen.likelihood.detach() - before, max=0.0))
        loss = -(share * advantage * seen.likelihood).mean()
        if tuning.entropy_weight is not None:
            loss = loss - tuning.entropy_weight * seen.entropy.mean()
        if tuning.skip_weight is not None:
            loss = loss + tuning.skip_weight * seen.skip_penalty.mean()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def _passed(self, architectures: Sequence[Architecture]) -> _Pass:
        """Returns how likely architectures are, with the entropy and the penalty on the way."""
        layers = range(self._sizes.layers)
        operations = [torch.tensor([each[layer][0] for each in architectures]) for layer in layers]
        skips = [
            torch.tensor([each[layer][1:] for each in architectures], dtype=torch.float64)
            for layer in layers
        ]
        zero = torch.zeros(len(architectures), dtype=torch.float64)
        likelihood, entropy, penalties = zero, zero, [zero]
        chosen = iter(operations)
        connected = iter(skips[1:])
        target = min(max(self._tuning.skip_target, _LEAST), 1 - _LEAST)

        def choose_operation(logits: Tensor) -> Tensor:
            nonlocal likelihood, entropy
            indices = next(chosen)
            shares = torch.log_softmax(logits, 1)
            likelihood = likelihood + shares.gather(1, indices[:, None])[:, 0]
            entropy = entropy - (shares.exp() * shares).sum(1)
            return indices

        def choose_skips(logits: Tensor) -> Tensor:
            nonlocal likelihood, entropy
            flags = next(connected)
            yes, no = logsigmoid(2 * logits), logsigmoid(-2 * logits)
            likelihood = likelihood + torch.where(flags > 0, yes, no).sum(1)
            chance = yes.exp()
            entropy = entropy - (chance * yes + (1 - chance) * no).sum(1)
            wanted, unwanted = torch.tensor([target, 1 - target], dtype=torch.float64).log()
            penalties.append((chance * (yes - wanted) + (1 - chance) * (no - unwanted)).sum(1))
            return flags

        self._over_layers(len(architectures), _Choices(choose_operation, choose_skips))
        penalty = torch.stack(penalties[1:] or penalties).mean(0)
        return _Pass(likelihood, entropy, penalty)

    def _over_layers(self, count: int, choices: _Choices) -> None:
        """Goes over the layers of ``count`` architectures, and asks for each choice."""
        weights = self._weights
        state = torch.zeros((2, count, self._sizes.hidden), dtype=torch.float64)
        cell, hidden = state[0], state[1]
        start = weights["start"].expand(count, -1)
        given = start
        before: list[Tensor] = []
        keys: list[Tensor] = []
        for layer in range(self._sizes.layers):
            cell, hidden = self._lstm(given, cell, hidden)
            chosen = choices.operation(self._bounded(hidden @ weights["softmax"]))
            cell, hidden = self._lstm(weights["embedding"][chosen], cell, hidden)
            given = start
            if layer:
                query = (hidden @ weights["attention_now"])[:, None, :] + torch.stack(keys, 1)
                logits = (torch.tanh(query) @ weights["attention"])[:, :, 0]
                flags = choices.skips(self._bounded(logits))
                joined = (flags[:, :, None] * torch.stack(before, 1)).sum(1)
                given = joined / (1 + flags.sum(1, keepdim=True))
            before.append(hidden)
            keys.append(hidden @ weights["attention_before"])

    def _lstm(self, given: Tensor, cell: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        gates = torch.cat([given, hidden], 1) @ self._weights["lstm"]
        enter, forget, leave, new = gates.chunk(4, 1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        return cell, torch.sigmoid(leave) * torch.tanh(cell)

    def _bounded(self, logits: Tensor) -> Tensor:
        if self._tuning.temperature is not None:
            logits = logits / self._tuning.temperature
        if self._tuning.tanh_constant is not None:
            logits = self._tuning.tanh_constant * torch.tanh(logits)
        return logits
