"""The nodes of a Workflow of many rounds, from those that a real run of two rounds left."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import random
import re
from typing import Any

from tests.paths import ROOT

RECORDED = ROOT / "tests" / "recorded" / "argo" / "rounds-2-of-2.json.gz"


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
