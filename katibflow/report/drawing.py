"""Adds to Optuna's figures what they leave out: failed and pruned trials, and logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from katibflow.study.failures import cause_of
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.objectives import objective_values, value_text

__all__ = ["Marks", "adapt", "spans_decades"]

_DECADES = 100.0
"""The ratio of the greatest to the least value from which an axis is logarithmic."""

_LONGEST = 120
"""Characters of a trial's cause in a mark's text."""


@dataclass(frozen=True)
class Marks:
    """The trials of a history that a plot of an objective over the trials leaves out.

    Attributes:
        history: The history.
        index: The objective's index among the experiment's objectives.
    """

    history: History
    index: int

    def value(self, trial: Trial) -> float | None:
        """Returns the finite value that a trial had of the objective, or None."""
        value = objective_values(self.history.experiment.spec.objective, trial)[self.index]
        return value if value is not None and math.isfinite(value) else None


def adapt(figure: Any, marks: Marks | None, spans: bool) -> None:
    """Adds marks to a figure of Plotly's, and makes its y axes logarithmic if that helps.

    Args:
        figure: The figure, which is changed.
        marks: The trials to mark; None for none.
        spans: Whether the y axes may be logarithmic.
    """
    if marks is not None:
        _mark(figure, marks)
    if spans:
        shown = (trace for trace in figure.data if trace.yaxis != _AT_THE_FOOT)
        if spans_decades(value for trace in shown for value in _numbers(trace.y)):
            # With the axis of the failed trials, which has no scale, excepted.
            figure.for_each_yaxis(
                lambda axis: axis.update(type="log") if axis.overlaying is None else None
            )


def spans_decades(values: Iterable[float]) -> bool:
    """Returns whether values are all above 0 and the greatest is 100 times the least or more."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) >= _DECADES


def _numbers(values: Sequence[Any] | None) -> Iterable[float]:
    return (float(value) for value in values or () if isinstance(value, int | float))


_AT_THE_FOOT = "y2"
"""The axis of marks without a value, which stand at the foot of the plot."""


def _mark(figure: Any, marks: Marks) -> None:
    trials = marks.history.trials
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    valued = [(trial, value) for trial in pruned if (value := marks.value(trial)) is not None]
    known = {trial.number for trial, _ in valued}
    _trace(
        figure,
        "Pruned",
        [trial for trial, _ in valued],
        [value for _, value in valued],
        {"symbol": "diamond-open", "color": "#b77900"},
    )
    foot = (
        ("Pruned, no value", [t for t in pruned if t.number not in known], "#b77900"),
        ("Failed", failed, "#b3261e"),
    )
    for name, of_it, color in foot:
        marker = {"symbol": "x", "color": color, "size": 7}
        _trace(figure, name, of_it, [0.02] * len(of_it), marker, yaxis=_AT_THE_FOOT)
    if any(of_it for _, of_it, _ in foot):
        figure.update_layout(yaxis2={"overlaying": "y", "range": [0, 1], "visible": False})


def _trace(
    figure: Any,
    name: str,
    trials: Sequence[Trial],
    values: Sequence[float],
    marker: dict[str, Any],
    **more: Any,
) -> None:
    if trials:
        figure.add_scatter(
            x=[trial.number for trial in trials],
            y=list(values),
            mode="markers",
            marker=marker,
            name=name,
            text=[_text(trial, None if more else value) for trial, value in _pairs(trials, values)],
            hoverinfo="text",
            **more,
        )


def _pairs(trials: Sequence[Trial], values: Sequence[float]) -> Iterable[tuple[Trial, float]]:
    return zip(trials, values, strict=True)


def _text(trial: Trial, value: float | None) -> str:
    why = cause_of(trial) if trial.state is TrialState.FAIL else trial.reason
    at = "" if value is None else f" at {value_text(value)}"
    return f"trial {trial.number} {trial.state.lower()}{at}: {why[:_LONGEST]}"
