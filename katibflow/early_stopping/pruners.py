"""Uses Optuna's pruners as early stopping rules; each one decides from the trials' reports.

A pruner's steps are the indices of the reports, from 0. At each report the pruner
reads the other trials again from the iterable that it was given. A pruner also stores attributes
with each trial (the rungs that it reached). They are computed again: the pruner is shown the other
trials' reports in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from katibflow.early_stopping.base import Rule, Stopping
from katibflow.experiment.types import ExperimentSpec
from katibflow.study.history import Point, Trial, TrialState
from katibflow.study.objectives import reported_metric
from katibflow.study.optuna_study import quiet_optuna
from katibflow.suggestion.algorithms.base import Settings
from katibflow.suggestion.algorithms.signatures import signature_of
from katibflow.suggestion.space.search_space import Space

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

__all__ = ["PREFIX", "optuna_pruner"]

PREFIX = "optuna:"

_WITH_RUNGS = frozenset({"HyperbandPruner", "SuccessiveHalvingPruner"})
_REFUSED = frozenset({"BasePruner"})
_PACKAGES: Mapping[str, tuple[str, ...]] = {"WilcoxonPruner": ("scipy",)}


def optuna_pruner(name: str) -> Stopping | str:
    """Returns the rule of a pruner of Optuna by its class's name, or the allowed names in words."""
    import optuna

    known = [kind for kind in optuna.pruners.__all__ if kind not in _REFUSED]
    if name not in known:
        return ", ".join(f"{PREFIX}{kind}" for kind in sorted(known))
    packages = _PACKAGES.get(name, ())
    for package in packages:
        if find_spec(package) is None:
            return f"a rule without the package {package}, or pip install {package}"
    kind: type[BasePruner] = getattr(optuna.pruners, name)
    signature = signature_of(kind)

    def made(settings: Settings) -> BasePruner:
        with quiet_optuna():
            make = _remembering() if name == "HyperbandPruner" else kind
            return make(**signature.arguments(settings))

    def make(spec: ExperimentSpec, settings: Settings, trials: Iterable[Trial]) -> Rule:
        others = _Others(spec, made(settings), trials, rungs=name in _WITH_RUNGS)
        metric = reported_metric(spec.objective)

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

    return Stopping(signature.rules, make, signature.required, check, packages, is_katibs=False)


def _remembering() -> type[BasePruner]:
    """Returns Optuna's HyperbandPruner, changed to compute each trial's bracket only once.

    Optuna's own computes the brackets of all trials at each rung and takes more than twice as long.
    """
    from optuna import Study
    from optuna.pruners import HyperbandPruner
    from optuna.trial import FrozenTrial

    brackets: dict[int, int] = {}

    class Remembering(HyperbandPruner):
        def _get_bracket_id(self, study: Study, trial: FrozenTrial) -> int:
            number = trial._number
            if number not in brackets:
                bracket = super()._get_bracket_id(study, trial)
                if not self._pruners:
                    return bracket
                brackets[number] = bracket
            return brackets[number]

    return Remembering


class _Others:
    """The study that a pruner sees: a running trial and the other trials."""

    def __init__(
        self, spec: ExperimentSpec, pruner: BasePruner, trials: Iterable[Trial], *, rungs: bool
    ) -> None:
        import optuna

        from katibflow.suggestion.history_storage import HistoryStorage, directions_of

        self._trials = tuple(trials) if isinstance(trials, Iterator) else trials
        self._pruner = pruner
        self._rungs = rungs
        numbers = {trial.number for trial in self._trials}
        number = next(n for n in range(len(numbers) + 1) if n not in numbers)
        self._itself = Trial(number, TrialState.RUNNING, {})
        self._storage = HistoryStorage(Space(()), spec.objective)
        with quiet_optuna():
            self._study = optuna.create_study(
                storage=self._storage,
                study_name="trials",
                pruner=pruner,
                directions=directions_of(spec.objective),
            )

    def would_stop(self, point: Point) -> bool:
        """Adds a report of the trial itself and returns whether the pruner would stop the trial."""
        others = [trial for trial in self._trials if trial.number != self._itself.number]
        changed = self._storage.follow(sorted([*others, self._itself], key=lambda t: t.number))
        with quiet_optuna():
            for number in changed if self._rungs else ():
                self._go_through(number)
            trial = self._storage.get_trial(self._itself.number)
            trial.intermediate_values[point.step] = point.value
            return self._pruner.prune(self._study, trial)

    def _go_through(self, number: int) -> None:
        """Shows the pruner every report of another trial."""
        reports: dict[int, Any] = dict(self._storage.get_trial(number).intermediate_values)
        seen = self._storage.get_trial(number).intermediate_values
        seen.clear()
        for step, value in sorted(reports.items()):
            seen[step] = value
            self._pruner.prune(self._study, self._storage.get_trial(number))
