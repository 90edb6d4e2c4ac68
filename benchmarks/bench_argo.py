"""Hops, nodes and bytes a round and a trial, in Argo alone and in Kubeflow Pipelines, side by side.

The Workflow objects are those that real runs left (tests/recorded); for more rounds the nodes of a
recorded round are repeated under names, ids, times and values of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from katibflow.steps.capacity import ARGO, KFP, Growth
from tests.doubles.argo_nodes import grown, packed

RUNS = ((10, 3), (30, 3), (90, 3), (90, 12), (10, 100))
"""Numbers of rounds, and of trials a round."""


def reckoned(growth: Growth, rounds: int, parallel: int) -> float:
    deeper = growth.depth * rounds * (rounds - 1) / 2
    return rounds * (growth.round + parallel * growth.trial) + deeper


def main() -> None:
    print(f"{'':24}{'Argo':>10}{'KFP':>10}")
    for name, argo, kfp in (
        ("pod hops a round", 3, 12),
        ("nodes a trial", 2, 13),
    ):
        print(f"{name:24}{argo:>10}{kfp:>10}")
    for rounds, parallel in RUNS:
        known, other = reckoned(ARGO, rounds, parallel), reckoned(KFP, rounds, parallel)
        seen = packed(grown(rounds, parallel))
        print(
            f"{rounds:3} rounds of {parallel:3}: Argo {seen:9,} bytes of nodes "
            f"(reckoned with {known:9,.0f}), KFP reckoned with {other:9,.0f}"
        )


if __name__ == "__main__":
    main()
