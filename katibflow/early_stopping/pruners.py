"""Pruners of Optuna by name, which decide from the reports that trials made.

A pruner knows the other trials as they were when the trial started; its steps are the indices of
the reports, from 0. What a pruner keeps with each trial (the rungs that it reached) is made again
by going through the reports of the others in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from katibflow.algorithms.base import Settings
from katibflow.algorithms.signatures import signature_of
from katibflow.early_stopping.base import Rule, Stopping
from katibflow.experiment import ExperimentSpec
from katibflow.history import Point, Trial
from katibflow.space import Space
from katibflow.study import quiet_optuna

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

__all__ = ["PREFIX", "optuna_pruner"]

PREFIX = "optuna:"

_WITH_RUNGS = frozenset({"HyperbandPruner", "SuccessiveHalvingPruner"})
_REFUSED = frozenset({"BasePruner"})
_PACKAGES: Mapping[str, str] = {"WilcoxonPruner": "scipy"}


def optuna_pruner(name: str) -> Stopping | str:
    """The rule of a pruner of Optuna, by the name of its class; else what is allowed."""
    import optuna

    known = [kind for kind in optuna.pruners.__all__ if kind not in _REFUSED]
    if name not in known:
        return ", ".join(f"{PREFIX}{kind}" for kind in sorted(known))
    package = _PACKAGES.get(name)
    if package is not None and find_spec(package) is None:
        return f"a rule without the package {package}, or pip install {package}"
    kind: type[BasePruner] = getattr(optuna.pruners, name)
    signature = signature_of(kind)

    def made(settings: Settings) -> BasePruner:
        with quiet_optuna():
            return kind(**signature.arguments(settings))

    def make(spec: ExperimentSpec, settings: Settings, trials: Iterable[Trial]) -> Rule:
        others = _Others(spec, made(settings), trials)
        if name in _WITH_RUNGS:
            others.go_through()
        metric = spec.objective.objective_metric_name

        def rule(point: Point) -> str | None:
            if not others.would_stop(point):
                return None
            count = point.step + 1
            return f"{name} stops it after {count} reports, the last {metric} is {point.value:g}"

        return rule

    def check(settings: Settings) -> Iterator[str]:
        try:
            made(settings)
        except (TypeError, ValueError) as error:
            yield str(error)

    return Stopping(signature.rules, make, signature.required, check)


class _Others:
    """The study in which a pruner sees a trial that is about to start."""

    def __init__(self, spec: ExperimentSpec, pruner: BasePruner, trials: Iterable[Trial]) -> None:
        import optuna

        from katibflow.history_storage import HistoryStorage, direction_of

        others = sorted(trials, key=lambda trial: trial.number)
        numbers = {trial.number for trial in others}
        self._number = next(n for n in range(len(others) + 1) if n not in numbers)
        self._pruner = pruner
        self._storage = HistoryStorage(Space(()), spec.objective)
        self._storage.follow(others)
        if self._number not in self._storage:
            self._storage.create_new_trial(0)
        self._storage.run(self._number)
        with quiet_optuna():
            self._study = optuna.create_study(
                storage=self._storage,
                study_name="trials",
                pruner=pruner,
                direction=direction_of(spec.objective.type),
            )

    def go_through(self) -> None:
        """Lets the pruner see every report of the other trials."""
        with quiet_optuna():
            for trial in self._storage.get_all_trials(0):
                reports: dict[int, Any] = dict(trial.intermediate_values)
                trial.intermediate_values = {}
                for step, value in sorted(reports.items()):
                    trial.intermediate_values[step] = value
                    self._pruner.prune(self._study, self._storage.get_trial(trial.number))

    def would_stop(self, point: Point) -> bool:
        """Adds a report of the trial itself, and says what the pruner makes of it."""
        trial = self._storage.get_trial(self._number)
        trial.intermediate_values[point.step] = point.value
        with quiet_optuna():
            return self._pruner.prune(self._study, trial)
