"""Hops, nodes and bytes a round and a trial, in Argo alone and in Kubeflow Pipelines, side by side.

The Workflow objects are those that real runs left (tests/recorded); for more rounds the nodes of a
recorded round are repeated under names, ids, times and values of their own.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import random
import re
from pathlib import Path
from typing import Any

from katibflow.steps.capacity import ARGO, KFP, Growth

RECORDED = Path(__file__).parent.parent / "tests" / "recorded" / "argo" / "rounds-2-of-2.json.gz"
RUNS = ((10, 3), (30, 3), (90, 3), (90, 12), (10, 100))
"""Numbers of rounds, and of trials a round."""


def packed(nodes: dict[str, Any]) -> int:
    """Returns the bytes that Argo stores of a Workflow's nodes once they are many."""
    text = json.dumps(nodes, separators=(",", ":")).encode()
    return len(base64.b64encode(gzip.compress(text)))


def grown(rounds: int, parallel: int) -> dict[str, Any]:
    """Returns the nodes of a run of so many rounds."""
    recorded = json.loads(gzip.decompress(RECORDED.read_bytes()))["status"]["nodes"]
    last = [node for node in recorded.values() if "next-round(0)" in node["name"]]
    shared = [node for node in last if "launcher" not in node["name"]]
    trial = [node for node in last if "launcher(0:" in node["name"]]
    made = dict(recorded)
    chance = random.Random(1)
    for number in range(2, rounds):
        deeper = "[3].next-round(0)" * number
        for node in shared + trial * parallel:
            text = json.dumps(node)
            text = text.replace("[3].next-round(0)", deeper)
            text = re.sub(r"\b\d{8,10}\b", lambda _: str(chance.randrange(10**10)), text)
            text = re.sub(r"0\.\d{15,18}", lambda _: repr(chance.random()), text)
            text = re.sub(
                r"(\d\d):(\d\d)(?=[.Z])",
                lambda _: f"{chance.randrange(60):02}:{chance.randrange(60):02}",
                text,
            )
            body = copy.deepcopy(json.loads(text))
            body["children"] = [f"x-{chance.randrange(10**10)}" for _ in body.get("children", ())]
            made[f"argo-{chance.randrange(10**10)}"] = body
    return made


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
