"""Early stopping: rules that end a trial whose reports are worse than those of earlier trials.

Source: Katib's ``pkg/earlystopping/v1beta1/medianstop/service.py``. On purpose different: the
threshold is a true median (Katib's is a mean), and every report from ``start_step`` on is compared
(Katib compares that one report only).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import median
from typing import Any

from katibflow.errors import Fault
from katibflow.experiment import ExperimentSpec, ObjectiveType
from katibflow.history import Point, Trial, TrialState
from katibflow.loading import Parts

__all__ = ["RULES", "Rule", "faults", "rule_for"]

Rule = Callable[[Point], str | None]
"""Takes a trial's reports of the objective one by one; why to stop it, or None to let it go on."""

Settings = Mapping[str, int]
MakeRule = Callable[[ExperimentSpec, Settings, Iterable[Trial]], Rule | None]


def _median_stop(spec: ExperimentSpec, settings: Settings, trials: Iterable[Trial]) -> Rule | None:
    start_step = settings["start_step"]
    averages = []
    for trial in trials:
        if trial.state is not TrialState.COMPLETE:
            continue
        first = [point.value for point in trial.intermediate[:start_step]]
        if first and all(map(math.isfinite, first)):
            averages.append(sum(first) / len(first))
    if not averages or len(averages) < settings["min_trials_required"]:
        return None
    threshold = median(averages)
    minimize = spec.objective.type is ObjectiveType.MINIMIZE
    sign = 1.0 if minimize else -1.0
    best = math.inf
    metric = spec.objective.objective_metric_name

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


RULES: Mapping[str, tuple[Mapping[str, tuple[int, int]], MakeRule]] = {
    "medianstop": ({"min_trials_required": (3, 1), "start_step": (4, 1)}, _median_stop),
}
"""By Katib's name: settings with their default and least value (whole numbers), and the rule."""


def rule_for(spec: ExperimentSpec, trials: Iterable[Trial]) -> Rule | None:
    """The rule for a trial that is about to start; None when it cannot be stopped.

    Args:
        spec: The experiment's specification, without faults.
        trials: All trials so far.
    """
    stopping = spec.early_stopping
    if stopping is None:
        return None
    defaults, make = RULES[stopping.algorithm_name]
    settings: dict[str, Any] = {name: default for name, (default, _) in defaults.items()}
    settings.update((entry.name, int(entry.value)) for entry in stopping.algorithm_settings)
    return make(spec, settings, trials)


def faults(parts: Parts) -> Iterator[Fault]:
    """What is wrong with earlyStopping and its settings."""
    spec = parts.early_stopping
    if spec is None:
        return
    where = "spec.earlyStopping"
    if spec.algorithm_name not in RULES:
        yield Fault(f"{where}.algorithmName", f'"{spec.algorithm_name}"', ", ".join(RULES))
        return
    known, _ = RULES[spec.algorithm_name]
    for index, setting in enumerate(spec.algorithm_settings):
        path = f"{where}.algorithmSettings[{index}]"
        if setting.name not in known:
            yield Fault(f"{path}.name", f'"{setting.name}"', ", ".join(known))
            continue
        least = known[setting.name][1]
        if not re.fullmatch("[0-9]{1,9}", setting.value) or int(setting.value) < least:
            yield Fault(
                f"{path}.value", f'"{setting.value}"', f"a whole number of at least {least}"
            )
