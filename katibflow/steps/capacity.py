"""Computes how large a run of the layout `rounds` gets, and how many rounds one run can hold.

Argo stores a run as one Workflow object of at most 1 MiB, with the steps' state packed (base64 of
gzip). It cannot store a larger object, and the run stalls for ever. The object repeats each step's
inputs (KFP 2.17 twice), so it grows by a known size a round and a trial. The layout is chosen in
`compiler.layouts`.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from urllib.parse import quote

from katibflow.experiment.types import Experiment, Parameter
from katibflow.suggestion.algorithms import algorithm_of

__all__ = [
    "ARGO",
    "AUTO_SHARE",
    "KFP",
    "MAX_ROUNDS",
    "OBJECT_LIMIT",
    "RUN_SHARE",
    "STOP_COMMAND",
    "Capacity",
    "Growth",
    "rounds_of",
]

OBJECT_LIMIT = 1_048_576
"""The greatest size of a Workflow object in bytes (Argo's ``MAX_WORKFLOW_SIZE``)."""

RUN_SHARE = 0.9
"""Share of the object that a run may fill; the rest is for steps that run again."""

AUTO_SHARE = 0.75
"""Share of the object up to which ``auto`` chooses the layout `rounds`."""

GZIP_WINDOW = 32_768
"""Bytes that gzip looks back on: a longer text is never found again."""

_BASE64 = 4 / 3

MAX_ROUNDS = 90
"""The greatest number of rounds: Argo stops at depth 100, and the steps inside need six more."""


@dataclass(frozen=True)
class Growth:
    """How a run's Workflow object grows, in bytes, as it was measured.

    Attributes:
        base: The templates, the steps outside of the rounds, and what only the first round adds.
        document: For each byte of the Experiment, as often as the object has it.
        round: A round without its trials.
        depth: What a round takes more than the one before, as a step's name has all layers' names.
        trial: A trial with assignments of two numbers.
        item: For each byte of a trial's assignments beyond those of two numbers.
        copy: What the experiment takes each further time that it is in the same object, as in a
            loop, without its rounds.
        packed: How often the steps' state has the Experiment, which gzip packs each time anew if
            it is longer than what gzip looks back on (`GZIP_WINDOW`).
    """

    base: float
    document: float
    round: float
    depth: float
    trial: float
    item: float
    copy: float = 0
    packed: int = 0

    def document_size(self, document: bytes) -> float:
        """Returns what an Experiment's JSON takes in the object, in bytes."""
        plain = self.document * len(document)
        if len(document) <= GZIP_WINDOW or not self.packed:
            return plain
        # the other copies stand in the specification, which is not packed
        packed = self.packed * _BASE64 * len(zlib.compress(document))
        return max(plain, 2 * len(document) + packed)


STOP_COMMAND = 460
"""Bytes of a trial for the command that ends its launcher (`steps.termination`)."""

KFP = Growth(112_000, 7, 11_500, 60, 2_100 + STOP_COMMAND, 1.5, 20_000, packed=10)
"""Kubeflow Pipelines, measured with KFP 2.17.0, Argo 4.0.8 on 2026-11-28 and 29 (docs/kfp.md)."""

ARGO = Growth(24_000, 1.1, 1_000, 20, 320, 4)
"""Argo alone, measured with Argo 4.0.8 on 2026-11-29 (docs/argo.md)."""

_USUAL_ITEM = 60
_VALUE_LENGTH = 20
"""The greatest length of a suggested number, in characters."""


@dataclass(frozen=True)
class Capacity:
    """The parts of a Workflow object's size, in bytes.

    Attributes:
        base: Size of all but the rounds.
        round: Size of a round without its trials.
        depth: What a round takes more than the one before.
        trial: Size of a trial.
    """

    base: float
    round: float
    depth: float
    trial: float

    @classmethod
    def of(cls, experiment: Experiment, library: int = 0, growth: Growth = KFP) -> Capacity:
        """Returns the sizes for an experiment.

        Args:
            experiment: The experiment.
            library: Length of the library in its pipeline, in characters; 0 without one.
            growth: How the engine's object grows.
        """
        document = json.dumps(experiment.document(), ensure_ascii=False).encode()
        item = _assignments_length(experiment)
        longer = max(0, item - _USUAL_ITEM)
        return cls(
            growth.base + library + growth.document_size(document),
            growth.round,
            growth.depth,
            growth.trial + growth.item * longer,
        )

    def of_rounds(self, rounds: int, parallel: int) -> float:
        """Returns the size in bytes of ``rounds`` rounds of ``parallel`` trials each."""
        parallel = min(parallel, OBJECT_LIMIT)  # a trial takes more than a byte, so more cannot fit
        deeper = self.depth * rounds * (rounds - 1) / 2
        return rounds * (self.round + parallel * self.trial) + deeper

    def most_rounds(self, parallel: int, room: float) -> int:
        """Returns how many rounds fit into ``room`` bytes; at most `MAX_ROUNDS`."""
        fitting = (n for n in range(MAX_ROUNDS, 0, -1) if self.of_rounds(n, parallel) <= room)
        return next(fitting, 0)

    def too_wide(self, parallel: int, room: float) -> str | None:
        """Returns a fault if not one round of ``parallel`` trials fits, or None if one does."""
        if self.most_rounds(parallel, room):
            return None
        widest = int((room - self.round) // self.trial)
        if widest < 1:
            return (
                "spec.trialTemplate: found an Experiment beside which not one round fits into a "
                "run; allowed: a shorter one (keep long scripts in the image or in a ConfigMap "
                "that the trials mount), or --layout controller, which has no rounds"
            )
        return (
            f"spec.parallelTrialCount: found {parallel}; allowed: at most "
            f"{widest}, as one run of the layout rounds "
            "holds no larger round (or --layout controller, which has no rounds)"
        )


def rounds_of(trials: int, parallel: int) -> int:
    """Returns the number of rounds for a number of trials."""
    return -(-trials // parallel)


def _assignments_length(experiment: Experiment) -> int:
    """Returns the greatest length of a trial's assignments in `messages.item_text`."""
    longest = algorithm_of(experiment.spec.algorithm).longest
    if longest is None:
        return sum(map(_assignment_length, experiment.spec.parameters))
    return len(
        "".join(f"&{quote(name)}={quote(text)}" for name, text in longest(experiment).items())
    )


def _assignment_length(parameter: Parameter) -> int:
    """Returns the greatest length of a parameter in `messages.item_text`, in characters."""
    space = parameter.feasible_space
    values = [len(quote(value)) for value in space.list or ()] or [_VALUE_LENGTH]
    return len(quote(parameter.name)) + max(values) + len("&=")
