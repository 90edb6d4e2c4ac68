"""Copies a run into an Optuna study while the run goes on, for people with Optuna's tools.

The history is the source: this module reads nothing back that others write to the study. The name
of a trial's job identifies the trial in the study, so a run that was killed, or another run of the
experiment, goes on in the same study. Storages are opened in `storage.location`. To import this
module costs little: Optuna is imported when a study is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from katibflow.engine.events import Update
from katibflow.errors import InputError
from katibflow.experiment.types import Experiment
from katibflow.storage.follower import Copy, Follower, Reports
from katibflow.storage.location import Storage, close
from katibflow.study.history import History, Trial
from katibflow.study.optuna_study import frozen_trials, quiet_optuna, study_of
from katibflow.study.resume import check_searched, searched

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

__all__ = ["StudyCopy", "StudySync", "Sync", "study_sync"]

_SEARCHED = "katibflow"
"""Key of a study's user attribute with the search, as `study.resume.searched` returns it."""

_OTHERWISE = "another --name"


@dataclass
class _Known:
    """The state of a trial in the study.

    Attributes:
        id: The storage's id of the trial.
        finished: Whether the trial is finished in the study, and cannot change any more.
        points: Step to the reported value.
    """

    id: int
    finished: bool = False
    points: dict[int, float] = field(default_factory=dict)


class StudyCopy:
    """Brings a study up to date with a history, one trial at a time. Only one thread may use it.

    Args:
        storage: The storage of the study.
        source: The name of the storage in errors.
        experiment: The experiment of the history; the study gets its name.
    """

    def __init__(self, storage: BaseStorage, source: str, experiment: Experiment) -> None:
        self._storage = storage
        self._source = f"{source}, study {experiment.name}"
        self._experiment = experiment
        self._wanted = study_of(History(experiment, run="", seed=0))
        self._name = self._wanted.study_name
        self._is_apart = False
        self._study: int | None = None
        self._known: dict[str, _Known] = {}
        self._space: dict[str, BaseDistribution] = {}

    def choose(self, run: str | None, fresh: bool) -> None:
        """Chooses the study: that of the experiment's name, or one of the run's own.

        A run that began anew has a study of its own beside that of the run before, as Optuna
        cannot rename a study; its name ends in the run's id.

        Args:
            run: The id of the run that goes on; None for a new run.
            fresh: Whether the run begins anew.

        Raises:
            Exception: The driver of the storage failed.
        """
        import optuna

        names = optuna.get_all_study_names(self._storage)
        if fresh:
            self._is_apart = self._name in names
        elif run is not None and f"{self._name}-{run}" in names:
            self._is_apart = True
            self.name(run)

    def name(self, run: str) -> str:
        """Returns the name of the run's study, which is the one in use from now on."""
        plain = self._wanted.study_name
        self._name = f"{plain}-{run}" if self._is_apart else plain
        return self._name

    @property
    def is_apart(self) -> bool:
        """Whether the run has a study of its own beside that of the experiment's name."""
        return self._is_apart

    def check(self) -> None:
        """Checks that the study of this name, if it exists, can take the trials.

        Raises:
            InputError: The study belongs to another experiment, or has trials of another program.
            Exception: The driver of the storage failed.
        """
        import optuna

        with quiet_optuna():
            try:
                study = optuna.load_study(study_name=self._name, storage=self._storage)
            except KeyError:
                return
            self._check(study)

    def open(self) -> int:
        """Opens the study, or creates it if it does not exist.

        Returns:
            The id of the study in the storage.

        Raises:
            InputError: The study belongs to another experiment, or has trials of another program.
            Exception: The driver of the storage failed.
        """
        import optuna

        if self._study is not None:
            return self._study
        wanted = self._wanted
        with quiet_optuna():
            study = optuna.create_study(
                storage=self._storage,
                study_name=self._name,
                directions=wanted.directions,
                load_if_exists=True,
            )
            self._check(study)
            study.set_user_attr(_SEARCHED, searched(self._experiment))
            if wanted.metric_names:
                study.set_metric_names(wanted.metric_names)
        id_ = self._storage.get_study_id_from_name(self._name)
        self._space, self._known = {}, {}
        for trial in self._storage.get_all_trials(id_, deepcopy=False):
            mark = trial.user_attrs
            self._space = {**trial.distributions, **self._space}
            self._known.setdefault(
                _key(mark.get("job"), mark.get("trial")),
                _Known(trial._trial_id, trial.state.is_finished(), dict(trial.intermediate_values)),
            )
        self._study = id_
        return id_

    def update_trial(self, history: History, trial: Trial) -> None:
        """Makes a trial of the study equal to that of the history, or adds it to the study.

        A trial that is finished in the study stays as it is, since Optuna allows no change. This
        leaves out a parameter whose value is no choice in the study.

        Args:
            history: The history that the trial belongs to.
            trial: The trial.

        Raises:
            Exception: The driver of the storage failed; the caller must call `forget` then.
        """
        study = self.open()
        known = self._known.get(_key(trial.job, trial.number))
        if known is not None and known.finished:
            return
        (frozen,) = frozen_trials(replace(history, trials=(trial,))).values()
        if known is None:
            self._fit(frozen)
            known = _Known(self._storage.create_new_trial(study, frozen))
            known.points.update(frozen.intermediate_values)
            self._known[_key(trial.job, trial.number)] = known
        else:
            self._update(known, frozen)
        known.finished = frozen.state.is_finished()

    def close(self) -> None:
        """Closes the connections of the storage that nobody uses."""
        close(self._storage)

    def forget(self) -> None:
        """Forgets what the study holds; the next use reads the study again."""
        self._study = None

    def _update(self, known: _Known, frozen: FrozenTrial) -> None:
        for step, value in frozen.intermediate_values.items():
            if known.points.get(step) != value:
                self._storage.set_trial_intermediate_value(known.id, step, value)
                known.points[step] = value
        if frozen.state.is_finished():
            for key, attribute in frozen.user_attrs.items():
                self._storage.set_trial_user_attr(known.id, key, attribute)
            for key, attribute in frozen.system_attrs.items():
                self._storage.set_trial_system_attr(known.id, key, attribute)
            self._storage.set_trial_state_values(known.id, frozen.state, frozen.values)

    def _fit(self, frozen: FrozenTrial) -> None:
        """Removes the parameters from a new trial that Optuna refuses beside the other trials."""
        from optuna.distributions import check_distribution_compatibility

        for name, distribution in frozen.distributions.items():
            try:
                check_distribution_compatibility(
                    self._space.setdefault(name, distribution), distribution
                )
            except ValueError:
                frozen.params = {key: frozen.params[key] for key in frozen.params if key != name}
                frozen.distributions = {
                    key: frozen.distributions[key] for key in frozen.distributions if key != name
                }

    def _check(self, study: optuna.Study) -> None:
        if study.directions != self._wanted.directions:
            found, allowed = (
                ", ".join(direction.name.lower() for direction in each.directions)
                for each in (study, self._wanted)
            )
            raise InputError(
                f"{self._source}: found directions {found}; allowed: {allowed}; or {_OTHERWISE}"
            )
        known = study.user_attrs.get(_SEARCHED)
        if known is not None:
            try:
                check_searched(self._source, self._experiment, known, study.study_name, _OTHERWISE)
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{self._source}: its attribute {_SEARCHED} cannot be read: {error}; allowed: "
                    f"{_OTHERWISE}"
                ) from error
        elif count := len(study.get_trials(deepcopy=False)):
            raise InputError(
                f"{self._source}: found {count} trials that are not katibflow's; allowed: a study "
                f"without trials, or {_OTHERWISE}"
            )


def _key(job: str | None, number: int | None) -> str:
    """Returns what identifies a trial; the name of a job contains the run."""
    return job or f"trial {number}"


class Sync(Protocol):
    """Takes the trials of a run while the run goes on."""

    def follow(self, history: History) -> None:
        """Takes all trials of a history, before the engine starts and after its end."""

    def notes(self) -> tuple[str, ...]:
        """Returns what the user is told of the study before the run goes on."""

    def __call__(self, update: Update) -> None:
        """Takes an update of the engine; never raises and never waits."""


class _NoSync:
    """Does nothing, for a run without a storage."""

    def follow(self, history: History) -> None:
        pass

    def notes(self) -> tuple[str, ...]:
        return ()

    def __call__(self, update: Update) -> None:
        pass


class StudySync(Follower):
    """Watches a run and brings a study up to date.

    Args:
        copy: The study.
        storage: The storage of the study, for messages.
        warn: Takes each warning for the user, in any thread.
        patience: Seconds that the end of a run waits for a storage that is slow or gone; 20 by
            default.
    """

    def __init__(
        self,
        copy: StudyCopy,
        storage: Storage,
        warn: Callable[[str], None],
        patience: float = 20.0,
    ) -> None:
        self._study_copy, self._option, self._study = copy, storage.option, ""

        def update(history: History, trial: Trial, _: Reports) -> None:
            copy.update_trial(history, trial)

        super().__init__(
            Copy(storage.option, "the study", update, copy.forget, storage.why), warn, patience
        )

    def follow(self, history: History) -> None:
        """Takes all trials of a history, and at first the name of its study."""
        if not self._study:
            self._study = self._study_copy.name(history.run)
        super().follow(history)

    def notes(self) -> tuple[str, ...]:
        """Returns the name of the study, if it is not the experiment's."""
        if not self._study_copy.is_apart:
            return ()
        return (
            f"{self._option}: the study of this run is {self._study}; that of the run before it "
            "stays as it was",
        )


@contextmanager
def study_sync(
    storage: str | None,
    experiment: Experiment,
    warn: Callable[[str], None],
    *,
    run: str | None = None,
    fresh: bool = False,
) -> Iterator[Sync]:
    """Opens the sync of a run with the study of its name, for the length of a ``with`` block.

    Args:
        storage: The storage as the user names it; None for a sync that does nothing.
        experiment: The experiment that is to be run.
        warn: Takes each warning for the user, in any thread.
        run: The id of the run that goes on; None for a new one.
        fresh: Whether the run begins anew, which gives it a study of its own.

    Raises:
        InputError: The storage cannot be opened, or its study of this name belongs to another
            experiment.
        MissingPackage: The driver of the database is not installed.
    """
    if storage is None:
        yield _NoSync()
        return
    location = Storage(storage)

    def opened(storage: BaseStorage) -> StudyCopy:
        copy = StudyCopy(storage, location.option, experiment)
        copy.choose(run, fresh)
        if not copy.is_apart or run is not None:
            copy.check()
        return copy

    with closing(location.created(opened)) as copy, StudySync(copy, location, warn) as sync:
        yield sync
