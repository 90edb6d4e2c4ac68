"""medianstop: it stops a trial whose best report is worse than the median of earlier trials.

Source: Katib's ``pkg/earlystopping/v1beta1/medianstop/service.py``. On purpose different: the
threshold is a true median (Katib's is a mean), and every report from ``start_step`` on is compared
(Katib compares that one report only).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from katibflow.early_stopping.base import Rule, Stopping
from katibflow.experiment.types import ExperimentSpec, ObjectiveType
from katibflow.study.history import Point, Trial, TrialState
from katibflow.study.objectives import reported_metric
from katibflow.suggestion.algorithms.base import Settings
from katibflow.suggestion.algorithms.settings import whole

__all__ = ["MEDIANSTOP"]

_MIN_TRIALS = 3
_START_STEP = 4


def _median_stop(spec: ExperimentSpec, settings: Settings, trials: Iterable[Trial]) -> Rule | None:
    start_step = settings.get("start_step", _START_STEP)
    averages = []
    for trial in trials:
        if trial.state is not TrialState.COMPLETE:
            continue
        first = [point.value for point in trial.intermediate if point.step < start_step]
        if first and all(map(math.isfinite, first)):
            averages.append(sum(first) / len(first))
    if not averages or len(averages) < settings.get("min_trials_required", _MIN_TRIALS):
        return None
    threshold = median(averages)
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
            f"{len(averages)} earlier trials over their first {start_step} is {threshold:g}"
        )

    return rule


MEDIANSTOP = Stopping({"min_trials_required": whole(1), "start_step": whole(1)}, _median_stop)
