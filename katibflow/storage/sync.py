"""Mirrors a run into an Optuna storage while it goes on, for people with Optuna's tools.

The history stays the source: nothing that others write to the study comes back. A trial of the
study is known by the name of its job, so a run that was killed, or another run of the experiment,
goes on in the same study. Import it early: Optuna is imported when a study is opened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from katibflow.engine.events import MetricReported, TrialEnded, TrialStarted, Update
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

__all__ = ["Follower", "Mirror", "StudyCopy", "mirrored"]

_SEARCHED = "katibflow"
"""Key of a study's user attribute with the search, as `study.resume.searched` returns it."""

_OTHERWISE = "another --name"
_TOGETHER = 0.3
"""Seconds in which changes are taken together: a short trial is written once, as it ended."""

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0


@dataclass
class _Known:
    """A trial of the study, as far as it matters for bringing it up to date."""

    id: int
    finished: bool = False
    points: dict[int, float] = field(default_factory=dict)


class StudyCopy:
    """A study that is brought up to date with a history, a trial at a time; for one thread.

    Args:
        storage: What holds the study, or is to hold it.
        source: How the storage is called, for errors.
        experiment: The experiment of the history; the study has its name.
    """

    def __init__(self, storage: BaseStorage, source: str, experiment: Experiment) -> None:
        self._storage = storage
        self._source = f"{source}, study {experiment.name}"
        self._experiment = experiment
        self._wanted = study_of(History(experiment, run="", seed=0))
        self._study: int | None = None
        self._known: dict[str, _Known] = {}
        self._space: dict[str, BaseDistribution] = {}

    def check(self) -> None:
        """Checks the study of this name, if there is one.

        Raises:
            InputError: It is another experiment's, or holds trials that are not katibflow's.
            Exception: Whatever the storage's driver raises.
        """
        import optuna

        with quiet_optuna():
            try:
                study = optuna.load_study(study_name=self._wanted.study_name, storage=self._storage)
            except KeyError:
                return
            self._check(study)

    def open(self) -> int:
        """Opens the study, which is made if it is not there; errors as of `check`.

        Returns:
            Its id in the storage.
        """
        import optuna

        if self._study is not None:
            return self._study
        wanted = self._wanted
        with quiet_optuna():
            study = optuna.create_study(
                storage=self._storage,
                study_name=wanted.study_name,
                directions=wanted.directions,
                load_if_exists=True,
            )
            self._check(study)
            study.set_user_attr(_SEARCHED, searched(self._experiment))
            if wanted.metric_names:
                study.set_metric_names(wanted.metric_names)
        id_ = self._storage.get_study_id_from_name(wanted.study_name)
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

    def bring(self, history: History, trial: Trial) -> None:
        """Makes the study's trial what the history's is, adding it if it is not there.

        A trial that is finished in the study stays as it is: Optuna allows no change. A parameter
        whose value the study cannot hold, since it is no choice there, is left out.

        Raises:
            Exception: Whatever the storage's driver raises; `forget` has to be called then.
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
        """Closes the storage's connections that are not in use."""
        close(self._storage)

    def forget(self) -> None:
        """Forgets what the study holds, which is read anew when it is needed."""
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
        """Takes out of a new trial what Optuna refuses beside the trials that are there."""
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
    """What a trial is known by; a job's name holds the run, too."""
    return job or f"trial {number}"


class Follower(Protocol):
    """What takes the trials of a run while it goes on."""

    def follow(self, history: History) -> None:
        """Takes all trials of a history: before the engine goes on with them, and at the end."""

    def __call__(self, update: Update) -> None:
        """Takes an update of the engine; never raises and never waits."""


class _Nothing:
    def follow(self, history: History) -> None:
        pass

    def __call__(self, update: Update) -> None:
        pass


class Mirror:
    """Watches a run and brings a study up to date, in a thread of its own.

    A storage that fails stops or slows nothing: it is told once, and tried again until the run is
    over.

    Args:
        copy: The study.
        storage: Where it is, for messages.
        warn: Told what a person should know, from any thread.
        patience: Seconds that the end of a run waits for a storage that is slow or gone.
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
        self._trials: dict[int, Trial] = {}
        self._points: dict[int, list[Point]] = {}
        self._behind: set[int] = set()
        self._closing = False
        self._reason = ""
        # What hangs in a database's driver must not keep the program from its end.
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)

    def follow(self, history: History) -> None:
        """Takes all trials of a history: before the engine goes on with them, and at the end."""
        with self._change:
            self._history = history
            for trial in history.trials:
                self._take(trial)
            self._change.notify()

    def __call__(self, update: Update) -> None:
        """Takes an update of the engine; never raises and never waits for the storage."""
        with self._change:
            match update:
                case TrialStarted(trial) | TrialEnded(trial):
                    self._take(trial)
                case MetricReported(number, metric, point) if metric == self._metric:
                    self._points.setdefault(number, []).append(point)
                    self._behind.add(number)
            self._change.notify()

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

    def __enter__(self) -> Mirror:
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
            assert history is not None, "a mirror follows a history before it watches"
            try:
                for number in numbers:
                    self._copy.bring(history, self._next(number))
            except Exception as error:  # whatever the database's driver raises
                self._copy.forget()
                self._failed(error, tell=not delay and not last)
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

    def _failed(self, error: Exception, *, tell: bool) -> None:
        with self._change:
            # What was written last may be lost, so all is compared again.
            self._behind.update(self._trials)
            self._reason = self._storage.why(error)
        if tell:
            self._warn(
                f"{self._storage.option}: cannot be written: {self._reason}; the run goes on, and "
                "this is tried again"
            )


@contextmanager
def mirrored(
    storage: str | None, experiment: Experiment, warn: Callable[[str], None]
) -> Iterator[Follower]:
    """What mirrors the experiment's run while the block runs, if there is a storage.

    Args:
        storage: As the user names it; None for none.
        experiment: The experiment that is to be run.
        warn: Told what a person should know, from any thread.

    Raises:
        InputError: The storage cannot be opened, or its study of this name is another
            experiment's.
        MissingPackage: The database's driver is not installed.
    """
    if storage is None:
        yield _Nothing()
        return
    place = Storage(storage)

    def opened(storage: BaseStorage) -> StudyCopy:
        copy = StudyCopy(storage, place.option, experiment)
        copy.check()
        return copy

    with closing(place.created(opened)) as copy, Mirror(copy, place, warn) as mirror:
        yield mirror
