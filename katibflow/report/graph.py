"""Draws a graph as SVG: boxes in rows, and lines from a box to one that is further down.

The picture stands in the page itself and needs neither a script nor the network.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from html import escape

__all__ = ["Box", "Graph", "graph_html"]

_HEIGHT = 38
_ROW = 66
_CHARACTER = 7.2
_PADDING = 22
_BETWEEN = 26
_STEP = 16
_MARGIN = 14


@dataclass(frozen=True)
class Box:
    """A box of a graph.

    Attributes:
        label: The text in the box.
        row: The row, from 0 at the top.
        detail: A second, smaller line; empty by default.
    """

    label: str
    row: int
    detail: str = ""

    @property
    def width(self) -> float:
        """The width in pixels, so that the texts fit in."""
        return max(len(self.label), 0.85 * len(self.detail)) * _CHARACTER + _PADDING


@dataclass(frozen=True)
class Graph:
    """Boxes, and lines between them as pairs of their indices, from above to below."""

    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]


def graph_html(graph: Graph, title: str) -> str:
    """Returns a graph as an SVG element.

    Args:
        graph: The graph.
        title: What it shows, for those who do not see it.
    """
    rows = Counter(box.row for box in graph.boxes)
    widths: Counter[int] = Counter()
    for box in graph.boxes:
        widths[box.row] += int(box.width) + _BETWEEN
    widest = max(widths.values())
    beside = max((_STEP * _passed(graph, edge) for edge in graph.edges), default=0) + _STEP
    centers = _centers(graph, widths, widest / 2 + beside + _MARGIN)
    width = widest + 2 * (beside + _MARGIN)
    height = len(rows) * _ROW + _MARGIN
    lines = "".join(_line(graph, edge, centers, (width, beside)) for edge in graph.edges)
    boxes = "".join(_box(box, x, y) for box, (x, y) in zip(graph.boxes, centers, strict=True))
    return (
        f'<svg class="graph" role="img" aria-label="{escape(title)}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">{lines}{boxes}</svg>'
    )


def _centers(graph: Graph, widths: Counter[int], middle: float) -> list[tuple[float, float]]:
    """Returns the center of each box; the boxes of a row stand side by side around the middle."""
    used: Counter[int] = Counter()
    centers = []
    for box in graph.boxes:
        left = middle - widths[box.row] / 2 + used[box.row] + _BETWEEN / 2
        used[box.row] += int(box.width) + _BETWEEN
        centers.append((left + box.width / 2, box.row * _ROW + _MARGIN + _HEIGHT / 2))
    return centers


def _passed(graph: Graph, edge: tuple[int, int]) -> int:
    """Returns how many rows a line passes over."""
    return max(0, graph.boxes[edge[1]].row - graph.boxes[edge[0]].row - 1)


def _line(
    graph: Graph,
    edge: tuple[int, int],
    centers: list[tuple[float, float]],
    room: tuple[float, float],
) -> str:
    """Returns a line; ``room`` has the picture's width, and how much of it is beside the boxes."""
    width, beside = room
    (x1, y1), (x2, y2) = centers[edge[0]], centers[edge[1]]
    y1, y2 = y1 + _HEIGHT / 2, y2 - _HEIGHT / 2
    passed = _passed(graph, edge)
    if not passed:
        middle = (y1 + y2) / 2
        path = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {middle:.0f} {x2:.0f} {middle:.0f} {x2:.0f} {y2:.0f}"
        return f'<path d="{path}"/>'
    # Around the boxes on the side that is nearer, the further out the more rows it passes.
    is_left = x1 + x2 < width
    inset = _MARGIN + beside - _STEP * passed
    side = inset if is_left else width - inset
    reach = min(_ROW / 2, (y2 - y1) / 4)
    path = (
        f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + reach:.0f} {side:.0f} {y1:.0f} {side:.0f} "
        f"{y1 + reach:.0f}V{y2 - reach:.0f}C{side:.0f} {y2:.0f} {x2:.0f} {y2 - reach:.0f} "
        f"{x2:.0f} {y2:.0f}"
    )
    return f'<path class="skip" d="{path}"/>'


def _box(box: Box, x: float, y: float) -> str:
    left, top = x - box.width / 2, y - _HEIGHT / 2
    shift = -7 if box.detail else 0
    detail = (
        f'<text class="detail" x="{x:.0f}" y="{y + 9:.0f}">{escape(box.detail)}</text>'
        if box.detail
        else ""
    )
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{box.width:.0f}" height="{_HEIGHT}" rx="7"/>'
        f'<text x="{x:.0f}" y="{y + shift:.0f}">{escape(box.label)}</text>{detail}'
    )
