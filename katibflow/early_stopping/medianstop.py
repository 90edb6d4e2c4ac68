"""medianstop: it stops a trial whose best report is worse than the median of earlier trials.

Source: Katib's ``pkg/earlystopping/v1beta1/medianstop/service.py``. On purpose different: the
threshold is a true median (Katib's is a mean), and every report from ``start_step`` on is compared
(Katib compares that one report only).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median

from katibflow.early_stopping.base import Rule, Stopping, remembered
from katibflow.experiment.types import ExperimentSpec, ObjectiveType
from katibflow.study.chunks import Chunks
from katibflow.study.history import Point, Trial, TrialState
from katibflow.study.objectives import reported_metric
from katibflow.suggestion.algorithms.base import Settings
from katibflow.suggestion.algorithms.settings import whole

__all__ = ["MEDIANSTOP"]

_MIN_TRIALS = 3
_START_STEP = 4


def _itself(pair: tuple[float, int]) -> tuple[float, int]:
    return pair


@dataclass(frozen=True)
class _Averages:
    """The averages of the completed trials over their first reports.

    Attributes:
        spec: The experiment's specification.
        start_step: The number of those reports.
        least: The number of trials below which no trial is stopped.
        pairs: Average and number of each trial, by ascending average.
    """

    spec: ExperimentSpec
    start_step: int
    least: int
    pairs: Chunks[tuple[float, int]]

    def after(self, before: Trial | None, trial: Trial) -> _Averages:
        """Returns the averages once a trial has taken the place of the one before it, if any."""
        old = None if before is None else self._average(before)
        new = self._average(trial)
        if old == new:
            return self
        pairs = self.pairs if old is None else self.pairs.without((old, trial.number))
        if new is not None:
            pairs = pairs.with_items([(new, trial.number)])
        return replace(self, pairs=pairs)

    def _average(self, trial: Trial) -> float | None:
        if trial.state is not TrialState.COMPLETE:
            return None
        first = [point.value for point in trial.intermediate if point.step < self.start_step]
        return sum(first) / len(first) if first and all(map(math.isfinite, first)) else None

    def rule(self) -> Rule | None:
        """Returns the rule for a trial that is about to start; None with too few trials."""
        count = len(self.pairs)
        if not count or count < self.least:
            return None
        # By their places: a part of the sequence would be a copy of all of it.
        middle = {self.pairs[place] for place in ((count - 1) // 2, count // 2)}
        return _rule(self.spec, self.start_step, count, median(average for average, _ in middle))


def _averages(spec: ExperimentSpec, settings: Settings) -> _Averages:
    least = settings.get("min_trials_required", _MIN_TRIALS)
    return _Averages(spec, settings.get("start_step", _START_STEP), least, Chunks(_itself))


def _median_stop(spec: ExperimentSpec, settings: Settings, trials: Iterable[Trial]) -> Rule | None:
    return remembered(_averages(spec, settings), trials).rule()


def _rule(spec: ExperimentSpec, start_step: int, count: int, threshold: float) -> Rule:
    minimize = spec.objective.type is ObjectiveType.MINIMIZE
    sign = 1.0 if minimize else -1.0
    best = math.inf
    metric = reported_metric(spec.objective)

    def rule(point: Point) -> str | None:
        nonlocal best
        if math.isfinite(point.value):
            best = min(best, sign * point.value)
        if point.step + 1 < start_step or best <= sign * threshold:
            return None
        return (
            f"after {point.step + 1} reports the best {metric} is {sign * best:g}, the median of "
            f"{count} earlier trials over their first {start_step} is {threshold:g}"
        )

    return rule


MEDIANSTOP = Stopping(
    {"min_trials_required": whole(1), "start_step": whole(1)}, _median_stop, remember=_averages
)
