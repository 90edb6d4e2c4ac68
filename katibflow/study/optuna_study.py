"""Makes an Optuna study of a study history, for people to read and to plot.

The study holds typed values: numbers as numbers, list items as their type says. Samplers use
another study, in `suggestion`. A change to this study does not change the history.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from katibflow.experiment.types import Distribution, Parameter, ParameterType
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.objectives import finite_values, violations

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

__all__ = ["frozen_trials", "quiet_optuna", "shown_study", "study_of", "typed_value"]

_UNKNOWN_TIME = "1970-01-01T00:00:00+00:00"
_MESSAGE_LENGTH = 2000


class _Quiet:
    """Silences Optuna's log lines, and all warnings, while any thread is in a ``with`` block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks = 0
        self._held = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Silences Optuna's log lines, and all warnings, while the block runs."""
        with self._lock:
            if self._blocks == 0:
                self._held = self._begin()
            self._blocks += 1
        try:
            yield
        finally:
            with self._lock:
                self._blocks -= 1
                if self._blocks == 0:
                    self._held.close()

    def _begin(self) -> ExitStack:
        import optuna

        held = ExitStack()
        held.callback(optuna.logging.set_verbosity, optuna.logging.get_verbosity())
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        held.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        return held


quiet_optuna = _Quiet()
"""``with quiet_optuna():`` silences the whole process; warnings and log levels are global."""


def study_of(history: History) -> optuna.Study:
    """Returns the history as an Optuna study in memory.

    The trials have their numbers and are as `frozen_trials` makes them. A number that the history
    does not have becomes a WAITING trial.

    Args:
        history: Any history, also one without trials.
    """
    import optuna

    study = _created(history, optuna.storages.InMemoryStorage())
    with quiet_optuna():
        for number, frozen in frozen_trials(history).items():
            for _ in range(len(study.get_trials(deepcopy=False)), number):
                study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.WAITING))
            study.add_trial(frozen)
    return study


def shown_study(history: History) -> optuna.Study:
    """Returns the history as an Optuna study that is only looked at, in a fraction of the time.

    Its trials have their numbers, whatever numbers are missing between them, and are the same
    objects at each look, where a study in memory makes copies.

    Args:
        history: Any history, also one without trials.
    """
    import optuna

    trials = []
    for number, frozen in frozen_trials(history).items():
        frozen.number = frozen._trial_id = number
        trials.append(frozen)

    class Shown(optuna.storages.InMemoryStorage):
        def get_all_trials(
            self,
            study_id: int,
            deepcopy: bool = True,
            states: Container[optuna.trial.TrialState] | None = None,
        ) -> list[optuna.trial.FrozenTrial]:
            return [each for each in trials if states is None or each.state in states]

    return _created(history, Shown())


def _created(history: History, storage: optuna.storages.InMemoryStorage) -> optuna.Study:
    """Returns a new study with the name, the directions and the metrics of a history."""
    import optuna

    objective = history.experiment.spec.objective
    with quiet_optuna():
        study = optuna.create_study(
            study_name=history.experiment.name,
            storage=storage,
            sampler=optuna.samplers.RandomSampler(seed=history.seed),
            directions=[aim.type.value for aim in objective.aims],
        )
        study.set_metric_names([aim.metric for aim in objective.aims])
    return study


def frozen_trials(history: History) -> dict[int, optuna.trial.FrozenTrial]:
    """Returns the trials as Optuna's, by their numbers in ascending order.

    A complete trial with finite objectives is COMPLETE. A complete trial without, a failed one and
    a killed one are FAIL. ``constraints`` holds how far a trial is beyond each constraint. Ranges
    are widened so that every value of a trial is in its range. Times are local and have no time
    zone, as Optuna's own. A missing start becomes the end, or the time when the trial was queued,
    or else the start of 1970.

    Returns:
        Trials with the user attributes ``trial`` (the number), ``job``, ``reason``, ``message``
        (2000 characters at most) and ``observations``.
    """
    objective = history.experiment.spec.objective
    columns = {
        parameter.name: _values(parameter, history.trials)
        for parameter in history.experiment.spec.parameters
    }
    distributions = {
        parameter.name: distribution
        for parameter in history.experiment.spec.parameters
        if (distribution := _distribution(parameter, columns[parameter.name].values()))
    }
    frozen = {}
    for trial in history.trials:
        params = {
            name: columns[name][trial.number]
            for name in distributions
            if trial.number in columns[name]
        }
        beyond = violations(objective, trial)
        values = finite_values(objective, trial) if beyond is not None else None
        frozen[trial.number] = _frozen(trial, values, beyond or {}, params, distributions)
    return frozen


def _frozen(
    trial: Trial,
    values: Sequence[float] | None,
    beyond: Mapping[str, float],
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
) -> optuna.trial.FrozenTrial:
    from optuna.trial import TrialState as OptunaState
    from optuna.trial import create_trial

    state = {
        TrialState.RUNNING: OptunaState.RUNNING,
        TrialState.COMPLETE: OptunaState.FAIL if values is None else OptunaState.COMPLETE,
        TrialState.PRUNED: OptunaState.PRUNED,
        TrialState.FAIL: OptunaState.FAIL,
        TrialState.KILLED: OptunaState.FAIL,
    }[trial.state]
    frozen = create_trial(
        state=state,
        values=values,
        constraints=dict(beyond) if values is not None else None,
        params=dict(params),
        distributions={name: distributions[name] for name in params},
        user_attrs={
            "trial": trial.number,
            "job": trial.job,
            "reason": trial.reason,
            "message": trial.message[:_MESSAGE_LENGTH],
            "observations": {
                name: {"latest": seen.latest, "min": seen.min, "max": seen.max}
                for name, seen in trial.observations.items()
            },
        },
        intermediate_values={
            point.step: point.value for point in trial.intermediate if math.isfinite(point.value)
        },
    )
    end = _local_time(trial.end)
    start = _local_time(trial.start) or end or _local_time(trial.queued)
    start = start or _local_time(_UNKNOWN_TIME)
    frozen.datetime_start = start
    frozen.datetime_complete = (end or start) if state.is_finished() else None
    return frozen


def _local_time(text: str | None) -> datetime | None:
    """Returns an ISO 8601 text (UTC by default) as naive local time, or None if it is none."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone().replace(tzinfo=None)


def _values(parameter: Parameter, trials: Iterable[Trial]) -> dict[int, Any]:
    """Returns a parameter's typed values by trial number, without trials that have none."""
    values = {
        trial.number: typed_value(parameter, trial.assignments[parameter.name])
        for trial in trials
        if parameter.name in trial.assignments
    }
    return {number: value for number, value in values.items() if value is not None}


def typed_value(parameter: Parameter, text: str) -> float | int | str | None:
    """Returns an assignment as a number or a text, or None if it does not fit the type."""
    if parameter.type is ParameterType.CATEGORICAL:
        return text
    if parameter.type is ParameterType.DOUBLE and parameter.feasible_space.list is None:
        return _real(text)
    if parameter.type is ParameterType.INT and parameter.feasible_space.list is None:
        return _integer(text)
    items = parameter.feasible_space.list or ()
    if all(_integer(item, strict=True) is not None for item in (*items, text)):
        return _integer(text, strict=True)
    if all(_real(item) is not None for item in (*items, text)):
        return _real(text)
    return text


def _real(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _integer(text: str, *, strict: bool = False) -> int | None:
    """Returns the integer of a text, or None; with ``strict`` a text as 16.0 is no integer."""
    real = _real(text)
    if real is None:
        return None
    try:
        return int(text)
    except ValueError:
        return int(real) if real.is_integer() and not strict else None


def _distribution(parameter: Parameter, values: Iterable[Any]) -> BaseDistribution | None:
    """Returns a distribution of the feasible space and all values, or None if there is none."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space = parameter.feasible_space
    if space.list is not None or parameter.type in (
        ParameterType.DISCRETE,
        ParameterType.CATEGORICAL,
    ):
        items = [typed_value(parameter, item) for item in space.list or ()]
        choices = [choice for choice in dict.fromkeys([*items, *values]) if choice is not None]
        return CategoricalDistribution(choices) if choices else None
    edges = [typed_value(parameter, edge) for edge in (space.min, space.max) if edge is not None]
    numbers: list[Any] = [number for number in (*edges, *values) if number is not None]
    if not numbers:
        return None
    log = space.distribution in (Distribution.LOG_UNIFORM, Distribution.LOG_NORMAL)
    if parameter.type is ParameterType.INT:
        # Optuna keeps integers as floats, which moves those beyond 2**53.
        numbers += [int(float(number)) for number in numbers]
        return IntDistribution(min(numbers), max(numbers), log=log and min(numbers) >= 1)
    return FloatDistribution(min(numbers), max(numbers), log=log and min(numbers) > 0.0)
