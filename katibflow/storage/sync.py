"""Copies a run into an Optuna study while the run goes on, for people with Optuna's tools.

The history is the source: this module reads nothing back that others write to the study. The name
of a trial's job identifies the trial in the study, so a run that was killed, or another run of the
experiment, goes on in the same study. Storages are opened in `storage.location`. To import this
module costs little: Optuna is imported when a study is opened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from katibflow.engine.events import MetricReported, TrialEnded, TrialQueued, TrialStarted, Update
from katibflow.errors import InputError
from katibflow.experiment.types import Experiment
from katibflow.storage.location import Storage, close
from katibflow.study.history import History, Point, Trial
from katibflow.study.objectives import reported_metric
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
_TOGETHER = 0.3
"""Seconds to wait for more changes, so that a short trial is written once, after its end."""

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0


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


class StudySync:
    """Watches a run and brings a study up to date, in a thread of its own.

    A storage that fails neither stops nor slows the run. The user sees one warning, and the thread
    tries again until the run is over.

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
        self._copy = copy
        self._storage = storage
        self._warn = warn
        self._patience = patience
        self._change = threading.Condition()
        self._history: History | None = None
        self._study = ""
        self._trials: dict[int, Trial] = {}
        self._points: dict[int, list[Point]] = {}
        self._behind: set[int] = set()
        self._closing = False
        self._reason = ""
        # A daemon, since a database's driver that hangs must not keep the program from its end.
        self._thread = threading.Thread(target=self._work, name="study-sync", daemon=True)

    def follow(self, history: History) -> None:
        """Takes all trials of a history, before the engine starts and after its end."""
        with self._change:
            if self._history is None:
                self._study = self._copy.name(history.run)
            self._history = history
            for trial in history.trials:
                self._take(trial)
            self._change.notify()

    def __call__(self, update: Update) -> None:
        """Takes an update of the engine; never raises and never waits for the storage."""
        with self._change:
            match update:
                case TrialStarted(trial) | TrialQueued(trial) | TrialEnded(trial):
                    self._take(trial)
                case MetricReported(number, metric, point) if metric == self._metric:
                    self._points.setdefault(number, []).append(point)
                    self._behind.add(number)
            self._change.notify()

    def notes(self) -> tuple[str, ...]:
        """Returns the name of the study, if it is not the experiment's."""
        if not self._copy.is_apart:
            return ()
        return (
            f"{self._storage.option}: the study of this run is {self._study}; that of the run "
            "before it stays as it was",
        )

    @property
    def _metric(self) -> str | None:
        if self._history is None:
            return None
        return reported_metric(self._history.experiment.spec.objective)

    def _take(self, trial: Trial) -> None:
        if self._trials.get(trial.number) == trial:
            return
        self._trials[trial.number] = trial
        self._points.pop(trial.number, None)
        self._behind.add(trial.number)

    def __enter__(self) -> StudySync:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Waits until the study is up to date, and warns if it is not."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join(self._patience)
        with self._change:
            behind, why = bool(self._behind), self._reason
        if behind or self._thread.is_alive():
            self._warn(
                f"{self._storage.option}: the study is not up to date: "
                f"{why or f'this took more than {self._patience:g} s'}; the same command, started "
                "again, brings it there"
            )

    def _work(self) -> None:
        delay = 0.0
        while True:
            with self._change:
                self._change.wait_for(lambda: self._behind or self._closing)
                self._change.wait_for(lambda: self._closing, delay or _TOGETHER)
                if not self._behind:
                    return
                last = self._closing
                history, numbers = self._history, sorted(self._behind)
            assert history is not None, "StudySync.follow comes before updates"
            try:
                for number in numbers:
                    self._copy.update_trial(history, self._next(number))
            except Exception as error:  # whatever the database's driver raises
                self._copy.forget()
                self._failed(error, warns=not delay and not last)
                if last:
                    return
                delay = min(_LONGEST_DELAY, max(_FIRST_DELAY, 2 * delay))
                continue
            if delay:
                self._warn(f"{self._storage.option}: is up to date again")
            delay, self._reason = 0.0, ""

    def _next(self, number: int) -> Trial:
        with self._change:
            self._behind.discard(number)
            trial = self._trials[number]
            points = self._points.get(number)
            return trial if points is None else replace(trial, intermediate=tuple(points))

    def _failed(self, error: Exception, *, warns: bool) -> None:
        with self._change:
            # The last write may be lost, so all trials are compared again.
            self._behind.update(self._trials)
            self._reason = self._storage.why(error)
        if warns:
            self._warn(
                f"{self._storage.option}: cannot be written: {self._reason}; the run goes on, and "
                "this is tried again"
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
