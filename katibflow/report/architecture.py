"""Reads the architecture that the best trial of an architecture search tried or found, as a graph.

A trial of ENAS was given it: ``architecture`` and ``nn_config``. A trial of DARTS reports it as a
text, ``Genotype(normal=[[(operation, node), ...], ...], normal_concat=..., reduce=...)``. What
cannot be read gives no graph; nothing of it is ever run.

Source of both forms: ``examples/v1beta1/trial-images`` in kubeflow/katib.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from katibflow.report.graph import Box, Graph, graph_html
from katibflow.study.best import best_of
from katibflow.study.history import History, Trial
from katibflow.study.objectives import found_text

__all__ = ["architecture_html", "graphs_of"]

_CELLS: Mapping[str, str] = {"normal": "Normal cell", "reduce": "Reduction cell"}
_MOST_BOXES = 400


def architecture_html(history: History) -> str:
    """Returns the best trial's architecture as pictures, or "" if there is none to draw."""
    spec = history.experiment.spec
    best = best_of(spec.objective, history.trials)
    if spec.nas_config is None or len(best.trials) != 1:
        return ""
    (trial,) = best.trials
    graphs = graphs_of(trial, found_text(spec.objective, trial))
    if not graphs:
        return ""
    pictures = "".join(
        f"<figure><figcaption>{escape(name)}</figcaption>{graph_html(graph, name)}</figure>"
        for name, graph in graphs.items()
    )
    return (
        '<section class="card" id="architecture"><h2>Best architecture: '
        f'<a href="#trial-{trial.number}">trial {trial.number}</a></h2>'
        f'<div class="graphs">{pictures}</div></section>'
    )


def graphs_of(trial: Trial, found: str) -> dict[str, Graph]:
    """Returns the graphs of a trial's architecture by their names; empty if none can be read.

    Args:
        trial: The trial, with the assignments that it was given.
        found: The text that it reported as its objective, or "".
    """
    try:
        if found:
            return dict(_cells(found))
        layers = ast.literal_eval(trial.assignments["architecture"])
        network = ast.literal_eval(trial.assignments["nn_config"])
        return {"Network": _network(layers, network)}
    except (
        AttributeError,
        IndexError,
        KeyError,
        MemoryError,
        RecursionError,
        SyntaxError,
        TypeError,
        ValueError,
    ):
        return {}


def _network(layers: Sequence[Sequence[int]], network: Mapping[str, Any]) -> Graph:
    """Returns the layers as boxes below each other, with the connections that pass some over."""
    ends = ["x".join(map(str, network[key])) for key in ("input_sizes", "output_sizes")]
    boxes = [Box(f"input {ends[0]}", 0)]
    edges: list[tuple[int, int]] = []
    for number, (operation, *skips) in enumerate(layers, start=1):
        known = network["embedding"][str(operation)]
        values = ", ".join(f"{name} {value}" for name, value in known["opt_params"].items())
        boxes.append(Box(f"{number}: {known['opt_type']}", number, values))
        edges += [(before, number) for before, flag in enumerate(skips) if flag]
        edges.append((number - 1, number))
    boxes.append(Box(f"output {ends[1]}", len(boxes)))
    edges.append((len(boxes) - 2, len(boxes) - 1))
    return Graph(tuple(boxes), tuple(edges))


def _cells(text: str) -> Iterator[tuple[str, Graph]]:
    call = ast.parse(text.strip(), mode="eval").body
    if not isinstance(call, ast.Call):
        raise ValueError(text)
    fields = {each.arg: each.value for each in call.keywords}
    for key, name in _CELLS.items():
        genes = ast.literal_eval(fields[key])
        if genes:
            yield name, _cell(genes)


def _cell(genes: Sequence[Sequence[tuple[str, int]]]) -> Graph:
    """Returns a cell: two inputs, each node below the operations that lead to it, an output."""
    boxes = [Box("cell before last", 0), Box("last cell", 0)]
    nodes = [0, 1]
    edges: list[tuple[int, int]] = []
    for number, gene in enumerate(genes, start=1):
        row = 2 * number - 1
        node = len(boxes) + len(gene)
        for operation, source in gene:
            edges += [(nodes[source], len(boxes)), (len(boxes), node)]
            boxes.append(Box(str(operation), row))
        boxes.append(Box(f"node {number}", row + 1))
        nodes.append(node)
    edges += [(node, len(boxes)) for node in nodes[2:]]
    boxes.append(Box("output", 2 * len(genes) + 1))
    if len(boxes) > _MOST_BOXES:
        raise ValueError(f"{len(boxes)} boxes")
    return Graph(tuple(boxes), tuple(edges))
