"""How large a run of the layout `rounds` gets, and how many rounds one run can hold.

Argo keeps a run in one Workflow object of at most 1 MiB, its steps' state packed (base64 of gzip);
what is larger it cannot store, and the run stands still for ever. Each step stands there with all
that it is handed, KFP 2.17 having each twice, so an object grows by a known size a round and a
trial.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import quote

from katibflow.experiment.types import Experiment, Parameter

__all__ = [
    "AUTO_SHARE",
    "MAX_ROUNDS",
    "OBJECT_LIMIT",
    "RUN_SHARE",
    "Capacity",
    "rounds_of",
]

OBJECT_LIMIT = 1_048_576
"""Bytes that Argo lets a Workflow object have (its ``MAX_WORKFLOW_SIZE``)."""

RUN_SHARE = 0.9
"""Share of the object that a run may fill: the rest is for steps that are tried again."""

AUTO_SHARE = 0.75
"""Share up to which the layout `rounds` is chosen where none is named."""

MAX_ROUNDS = 90
"""Argo stops a recursion at depth 100; each round is one level, the steps inside six more."""

# Bytes of the Workflow object, measured with KFP 2.17.0 and Argo 4.0.8 on 2026-11-28 (docs/kfp.md).
_BASE = 112_000
"""The templates, the steps outside of the rounds, and what only the first round brings."""
_DOCUMENT = 7
"""For each byte of the Experiment, which `start` is handed: it stands there a dozen times."""
_ROUND = 11_500
_DEPTH = 60
"""More in each round than in the one before: a step's name holds the names of all layers."""
_TRIAL = 2_100
_ITEM = 1.5
"""For each byte of a trial's parameter assignments beyond those of two numbers."""
_USUAL_ITEM = 60
_VALUE_LENGTH = 20
"""Characters of a suggested number at most."""


@dataclass(frozen=True)
class Capacity:
    """What the Workflow object of an experiment takes, in bytes.

    Attributes:
        base: At its start, and at its end beside its rounds.
        round: A round, beside its trials.
        trial: A trial.
    """

    base: float
    round: float
    trial: float

    @classmethod
    def of(cls, experiment: Experiment, library: int = 0) -> Capacity:
        """The sizes of an experiment.

        Args:
            experiment: The experiment.
            library: Characters of the library that its pipeline carries; 0 if it carries none.
        """
        document = len(json.dumps(experiment.document(), ensure_ascii=False).encode())
        item = sum(map(_assignment_length, experiment.spec.parameters))
        longer = max(0, item - _USUAL_ITEM)
        return cls(_BASE + library + _DOCUMENT * document, _ROUND, _TRIAL + _ITEM * longer)

    def of_rounds(self, rounds: int, parallel: int) -> float:
        """Bytes of so many rounds of so many trials each."""
        parallel = min(parallel, OBJECT_LIMIT)  # each takes more than a byte
        deeper = _DEPTH * rounds * (rounds - 1) / 2
        return rounds * (self.round + parallel * self.trial) + deeper

    def most_rounds(self, parallel: int, room: float) -> int:
        """How many rounds of so many trials each fit into ``room`` bytes; at most `MAX_ROUNDS`."""
        fitting = (n for n in range(MAX_ROUNDS, 0, -1) if self.of_rounds(n, parallel) <= room)
        return next(fitting, 0)

    def too_wide(self, parallel: int, room: float) -> str | None:
        """What is wrong where not even one round of so many trials fits; None if one does."""
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
    """How many rounds so many trials take."""
    return -(-trials // parallel)


def _assignment_length(parameter: Parameter) -> int:
    """Characters of a parameter in a trial's item (`messages.item_text`), at most."""
    space = parameter.feasible_space
    values = [len(quote(value)) for value in space.list or ()] or [_VALUE_LENGTH]
    return len(quote(parameter.name)) + max(values) + len("&=")
