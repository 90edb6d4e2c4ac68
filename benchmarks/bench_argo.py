"""Hops, pods and bytes a round and a trial, in Argo alone and in Kubeflow Pipelines, side by side.

The Workflow objects are those that real runs left (tests/recorded); for more rounds of Argo alone
the nodes of a recorded round are repeated under names, ids, times and values of their own. The
files are compiled here.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from katibflow.compiler.argo.emit import ArgoOptions, compile_workflow
from katibflow.compiler.emit import compile_experiment
from katibflow.steps.capacity import ARGO, KFP, Growth
from katibflow.validation.reading import read_experiment
from tests.doubles.argo_nodes import RECORDED, grown, packed
from tests.paths import ROOT

Nodes = Mapping[str, Mapping[str, Any]]

KFP_RUNS = {(6, 3): "workflow-6-rounds-of-3", (4, 10): "workflow-4-rounds-of-10"}
"""Recorded runs of Kubeflow Pipelines by their rounds, and trials a round."""

RUNS = ((10, 3), (30, 3), (90, 3), (90, 12), (10, 100))
"""Numbers of rounds, and of trials a round, that are reckoned."""

_DECIDES = {"decision", "loop"}
"""The last step of each round, by its name in one engine or the other."""


def nodes_of(path: Path) -> Nodes:
    nodes: Nodes = json.loads(gzip.decompress(path.read_bytes()))["status"]["nodes"]
    return nodes


def pods(nodes: Nodes) -> list[Mapping[str, Any]]:
    return [node for node in nodes.values() if node["type"] == "Pod"]


def hops(nodes: Nodes) -> float:
    """Pods one after the other from one round's decision to the next one's, on average."""
    ended = [node for node in pods(nodes) if node.get("finishedAt")]
    last, at, found = "", 0, []
    for node in sorted(ended, key=lambda node: str(node["finishedAt"])):
        if node["startedAt"] >= last:
            last, at = node["finishedAt"], at + 1
        names = {part.partition("(")[0] for part in node["name"].split(".")[-2:]}
        if _DECIDES & names and "driver" not in node["name"].rpartition(".")[2]:
            found.append(at)
    return (found[-1] - found[0]) / (len(found) - 1)


def reckoned(growth: Growth, rounds: int, parallel: int) -> float:
    deeper = growth.depth * rounds * (rounds - 1) / 2
    return rounds * (growth.round + parallel * growth.trial) + deeper


def row(name: str, values: Sequence[float]) -> None:
    shown = (f"{value:12,.1f}" if value < 100 else f"{value:12,.0f}" for value in values)
    print(f"{name:42}{''.join(shown)}")


def main() -> None:
    recorded = ROOT / "tests" / "recorded"
    kfp = {run: nodes_of(recorded / f"{name}.json.gz") for run, name in KFP_RUNS.items()}
    own = nodes_of(RECORDED)
    print(f"{'':42}{'Argo alone':>12}{'KFP':>12}")
    row("hops a round, of real runs", [hops(own), hops(kfp[4, 10])])
    for (rounds, parallel), nodes in kfp.items():
        both = (
            {key: node for key, node in grown(2 + rounds, parallel).items() if key not in own},
            {key: node for key, node in nodes.items() if ".round(0)" in node["name"]},
        )
        print(f"{rounds} rounds of {parallel} trials, without what is around the rounds")
        row("  pods a round", [len(pods(each)) / rounds for each in both])
        row("  pods a trial", [len(pods(each)) / rounds / parallel for each in both])
        row("  nodes a round", [len(each) / rounds for each in both])
        row("  bytes of nodes a round, packed", [packed(dict(each)) / rounds for each in both])
        row(
            "  bytes of nodes a trial, packed",
            [packed(dict(each)) / rounds / parallel for each in both],
        )
    print("bytes of nodes that the compiler reckons with")
    for rounds, parallel in RUNS:
        values = [reckoned(growth, rounds, parallel) for growth in (ARGO, KFP)]
        row(f"  {rounds} rounds of {parallel} trials", values)
    print("bytes of the compiled file, examples/mnist.yaml")
    experiment = read_experiment(ROOT / "examples" / "mnist.yaml")
    for layout in ("rounds", "controller"):
        texts = (
            compile_workflow(experiment, ArgoOptions(), layout=layout).text,
            compile_experiment(experiment, layout=layout).text,
        )
        row(f"  {layout}", [len(text.encode()) for text in texts])


if __name__ == "__main__":
    main()
