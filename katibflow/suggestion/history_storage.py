"""Shows a study history to Optuna's samplers and pruners, as the storage of one study.

Optuna's own in-memory storage copies and checks every trial that is added, which takes ten times
as long as the sampler's ask. This storage shows trials that are valid already. Import the module
late, because it imports Optuna.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from itertools import compress
from math import isfinite
from operator import is_not
from typing import Any, NoReturn, cast

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from katibflow.experiment.types import Objective, ObjectiveType
from katibflow.study.bulk import without_search_for_cycles
from katibflow.study.history import Point, Trial, TrialState
from katibflow.study.objectives import finite_values, violations
from katibflow.suggestion.space.search_space import Space

__all__ = ["STUDY_ATTRIBUTES", "HistoryStorage", "directions_of"]

_STUDY = 0

STUDY_ATTRIBUTES = "study"
"""Key among a trial's attributes with the study's attributes that were set with the trial."""

_CONSTRAINT = "constraints:"
"""Prefix of the attributes in which Optuna stores the violation of constraints."""

_PICKLED = ("cma:", "cmawm:", "sepcma:")
"""Prefixes of attributes that Optuna's samplers would unpickle; a history may be anyone's."""


class HistoryStorage(BaseStorage):
    """Holds one study that follows a history; trials keep their numbers.

    Args:
        space: The experiment's search space.
        objective: The objective, which selects a trial's values.
        teaches: Whether trials that failed, or whose objective is not finite, are PRUNED in the
            study, without a value: a sampler that models the space takes them for the worst. By
            default they are FAIL, which samplers and pruners ignore.

    Attributes:
        news: Attributes of the study that the sampler has set since `follow`.
        memory: What a sampler has computed from the finished trials alone; it is empty again when
            one of them has changed.
    """

    def __init__(self, space: Space, objective: Objective, teaches: bool = False) -> None:
        self._fruitless = OptunaState.PRUNED if teaches else OptunaState.FAIL
        self._space = space
        self._objective = objective
        self._distributions = space.distributions()
        self._directions: list[StudyDirection] = []
        self._name = ""
        self._attributes: dict[str, Any] = {}
        self.news: dict[str, Any] = {}
        self._sources: list[Trial | None] = []
        self._trials: list[FrozenTrial] = []
        self._carried: dict[int, Mapping[str, Any]] = {}
        self._shared: dict[tuple[str, ...], dict[str, BaseDistribution]] = {}
        self.memory: dict[str, Any] = {}

    def follow(self, trials: Sequence[Trial]) -> list[int]:
        """Makes the study equal to trials by ascending number; the same objects stay unchanged.

        A trial with finite objectives is COMPLETE (or PRUNED). A trial without them, or without
        values of its constraints, is as ``teaches`` says. A killed trial, and a number that the
        history leaves out, is FAIL.

        Returns:
            The numbers of the trials that are new or changed.
        """
        wanted = _without_gaps(tuple(trials))
        if len(wanted) < len(self._sources):
            self.memory.clear()
        # Those after the sources were asked for, and are the history's to add.
        del self._sources[len(wanted) :], self._trials[len(self._sources) :]
        known = len(self._sources)
        # In C, since it is all that a study that stays in memory does for most of its trials.
        changed = [
            *compress(range(known), map(is_not, self._sources, wanted)),
            *range(known, len(wanted)),
        ]
        self._sources += [None] * (len(wanted) - known)
        self._trials += [_NO_TRIAL] * (len(wanted) - known)
        with without_search_for_cycles():
            for number in changed:
                self._take(number, wanted[number])
        self._attributes = self._carried_attributes()
        self.news = {}
        return changed

    def _take(self, number: int, source: Trial | None) -> None:
        """Puts a trial of the history at its number."""
        was, now = self._trials[number], self._frozen(number, source)
        if self.memory and (_counts(was) or _counts(now)):
            self.memory.clear()
        self._sources[number], self._trials[number] = source, now
        if self._carried:
            self._carried.pop(number, None)
        if source is not None and STUDY_ATTRIBUTES in source.attributes:
            self._carried[number] = source.attributes[STUDY_ATTRIBUTES]

    def _carried_attributes(self) -> dict[str, Any]:
        """Returns the study's attributes, the later trial's where several set the same one."""
        merged: dict[str, Any] = {}
        for number in sorted(self._carried):
            if number < len(self._sources):
                merged.update(self._carried[number])
            else:
                del self._carried[number]
        return {key: value for key, value in merged.items() if self._is_usable(value)}

    def _is_usable(self, value: object) -> bool:
        """Returns whether an attribute of the sampler is valid: it names no trial that is gone."""
        return not isinstance(value, list) or all(
            isinstance(number, int) and number in self and self._trials[number].params
            for number in value
        )

    def _frozen(self, number: int, trial: Trial | None) -> FrozenTrial:
        # As few calls as can be: a step of a pipeline does this for every trial of its study.
        numbers = None if trial is None else self._space.numbers(trial.assignments)
        if trial is None or numbers is None:
            return _Followed(number, OptunaState.FAIL, None, {}, {}, _attributes(trial, _MET), ())
        state, values, constraints = self._standing(trial)
        # Optuna takes the pruned trial with the most reports for the best of them, and a failed one
        # may have many.
        is_fruitless = values is None and state is OptunaState.PRUNED
        distributions = self._distributions
        if len(numbers) != len(distributions):
            distributions = self._some(tuple(numbers))
        return _Followed(
            number,
            state,
            values,
            numbers,
            distributions,
            _attributes(trial, constraints) if trial.attributes or constraints else {},
            () if is_fruitless else trial.intermediate,
        )

    def _some(self, names: tuple[str, ...]) -> dict[str, BaseDistribution]:
        """Returns the distributions of some parameters; all trials share one object."""
        if names not in self._shared:
            self._shared[names] = {name: self._distributions[name] for name in names}
        return self._shared[names]

    def _standing(
        self, trial: Trial
    ) -> tuple[OptunaState, tuple[float, ...] | None, Mapping[str, float]]:
        """Returns a trial's state in the study, its values and its violations."""
        if trial.state is TrialState.RUNNING:
            return OptunaState.RUNNING, None, _MET
        if trial.state is TrialState.KILLED:
            return OptunaState.FAIL, None, _MET
        values = finite_values(self._objective, trial)
        beyond = violations(self._objective, trial) if self._objective.constraints else _MET
        if values is None or beyond is None:
            return self._fruitless, None, _MET
        pruned = trial.state is TrialState.PRUNED
        return OptunaState.PRUNED if pruned else OptunaState.COMPLETE, values, beyond

    def __contains__(self, number: int) -> bool:
        return 0 <= number < len(self._trials)

    # What Optuna calls. A study that is asked, and nothing else, needs no more than this.

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Stores the directions of the one study."""
        self._directions = list(directions)
        self._name = study_name or ""
        return _STUDY

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Adds an empty running trial; `follow` removes or replaces it."""
        number = len(self._trials)
        self._trials.append(
            FrozenTrial(
                number=number,
                state=OptunaState.RUNNING,
                value=None,
                datetime_start=datetime.now(),
                datetime_complete=None,
                params={},
                distributions={},
                user_attrs={},
                system_attrs={},
                intermediate_values={},
                trial_id=number,
            )
        )
        return number

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """Sets a parameter of the trial that is being asked."""
        trial = self._trials[trial_id]
        trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        trial.distributions[param_name] = distribution

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Sets an attribute of the sampler or pruner, in a copy, as Optuna's own storages do.

        A pruner compares a trial with trials that it has read before, and it must not find the new
        attribute there.
        """
        trial = copy.copy(self._trials[trial_id])
        trial.system_attrs = {**trial.system_attrs, key: value}
        self._trials[trial_id] = trial

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Returns the trial itself, not a copy."""
        return self._trials[trial_id]

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[OptunaState] | None = None,
    ) -> list[FrozenTrial]:
        """Returns the trials by number, never copies of them."""
        if states is None:
            return list(self._trials)
        return [trial for trial in self._trials if trial.state in states]

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Sets an attribute of the study, and lists it in ``news``."""
        self._attributes[key] = self.news[key] = value

    def get_study_id_from_name(self, study_name: str) -> int:
        """Returns the id of the one study."""
        return _STUDY

    def get_study_name_from_id(self, study_id: int) -> str:
        """Returns the study's name."""
        return self._name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Returns one direction for each objective."""
        return self._directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Returns nothing: the study has no such attributes."""
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Returns the attributes from `set_study_system_attr`."""
        return self._attributes

    def get_all_studies(self) -> list[FrozenStudy]:
        """Refuses, as all methods below do: only the history may be changed."""
        _refuse()

    def delete_study(self, study_id: int) -> None:
        """Refuses."""
        _refuse()

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Refuses."""
        _refuse()

    def set_trial_state_values(
        self, trial_id: int, state: OptunaState, values: Sequence[float] | None = None
    ) -> bool:
        """Refuses."""
        _refuse()

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """Refuses."""
        _refuse()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Refuses."""
        _refuse()


class _Followed(FrozenTrial):
    """A trial of a history; its constraints are looked up once, and its reports when asked for.

    TPE asks every trial for its constraints, once for each parameter, and only a pruner, or a
    sampler about pruned trials, asks for reports.
    """

    constraints: dict[str, float] = cast(Any, None)  # in place of Optuna's property

    def __init__(
        self,
        number: int,
        state: OptunaState,
        values: Sequence[float] | None,
        params: dict[str, Any],
        distributions: dict[str, BaseDistribution],
        system_attrs: dict[str, Any],
        reports: tuple[Point, ...],
    ) -> None:
        super().__init__(
            number,
            state,
            None,
            _SOME_TIME,
            None if state is OptunaState.RUNNING else _SOME_TIME,
            params,
            distributions,
            {},
            system_attrs,
            cast(Any, None),
            number,
            values=values,
        )
        self.constraints = _constraints_of(self) if system_attrs else {}
        self._reports = reports
        self._by_step: dict[int, float] | None = None

    @property
    def intermediate_values(self) -> dict[int, float]:
        """The finite reports by step."""
        if self._by_step is None:
            self._by_step = {
                point.step: point.value for point in self._reports if isfinite(point.value)
            }
        return self._by_step

    @intermediate_values.setter
    def intermediate_values(self, values: dict[int, float]) -> None:
        self._by_step = values

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenTrial):  # what has not been asked for is no difference
            _ = self.intermediate_values, other.intermediate_values
        return super().__eq__(other)

    __hash__ = FrozenTrial.__hash__


_constraints_of: Callable[[FrozenTrial], dict[str, float]] = vars(FrozenTrial)["constraints"].fget

_MET: Mapping[str, float] = {}
"""The violations of a trial without constraints."""


def _counts(trial: FrozenTrial) -> bool:
    """Returns whether a sampler learns from a trial's end."""
    return trial.state is OptunaState.COMPLETE or trial.state is OptunaState.PRUNED


def _without_gaps(trials: Sequence[Trial]) -> Sequence[Trial | None]:
    """Returns trials by ascending number so that each is at its number, with None for the rest."""
    if not trials or trials[-1].number == len(trials) - 1:
        return trials
    wanted: list[Trial | None] = [None] * (trials[-1].number + 1)
    for trial in trials:
        wanted[trial.number] = trial
    return wanted


def _attributes(trial: Trial | None, constraints: Mapping[str, float]) -> dict[str, Any]:
    if trial is None:
        return {}
    kept = {
        key: value
        for key, value in trial.attributes.items()
        if key != STUDY_ATTRIBUTES and not key.startswith(_PICKLED)
    }
    return kept | {f"{_CONSTRAINT}{name}": by for name, by in constraints.items()}


_SOME_TIME = datetime(2000, 1, 1)
"""Optuna requires times; no sampler reads them."""


_NO_TRIAL = FrozenTrial(-1, OptunaState.FAIL, None, None, None, {}, {}, {}, {}, {}, -1)
"""It holds the room of a trial for a moment."""


def _refuse() -> NoReturn:
    raise NotImplementedError("a history is asked only; its trials change through follow()")


def directions_of(objective: Objective) -> list[StudyDirection]:
    """Returns Optuna's directions for the objectives."""
    return [
        StudyDirection.MINIMIZE if aim.type is ObjectiveType.MINIMIZE else StudyDirection.MAXIMIZE
        for aim in objective.aims
    ]
