"""Follows a run in a thread of its own, for what keeps a copy of the run elsewhere.

The copy may be slow or gone: it neither stops nor slows the run. The user sees one warning, and the
thread tries again until the run is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from katibflow.engine.events import MetricReported, TrialEnded, TrialQueued, TrialStarted, Update
from katibflow.study.history import History, Point, Trial
from katibflow.study.objectives import reported_metric
from katibflow.study.series import Series

__all__ = ["Copy", "Follower", "Reports"]

_TOGETHER = 0.3
"""Seconds to wait for more changes, so that a short trial is written once, after its end."""

_UNTOLD = 1.0
"""Seconds that the end waits for a driver that is being loaded before the user is told."""

_LOADING = 10
"""How many times the patience a driver may take to load."""

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0

Reports = Mapping[str, Sequence[Point]]
"""Metric to what a trial reported of it in this process."""


@dataclass(frozen=True)
class Copy:
    """A copy of a run elsewhere; only the follower's thread calls it.

    Attributes:
        option: The option that names it, for messages.
        what: What is kept there, for messages, as "the study".
        update: Brings a trial up to date there; raises whatever its driver raises.
        forget: Forgets what is there after an error; the next use reads it again.
        why: Returns the cause of an error as one line, without passwords.
        prepare: Loads the driver, before anything is written; nothing by default.
    """

    option: str
    what: str
    update: Callable[[History, Trial, Reports], None]
    forget: Callable[[], None]
    why: Callable[[BaseException], str]
    prepare: Callable[[], None] = lambda: None


class Follower:
    """Watches a run and brings a copy of it up to date.

    Args:
        copy: The copy.
        warn: Takes each warning for the user, in any thread.
        patience: Seconds without a trial written after which the end of a run no longer waits for
            a copy that is slow or gone; 20 by default. Its driver may take ten times as long to
            load.
    """

    def __init__(
        self,
        copy: Copy,
        warn: Callable[[str], None],
        patience: float = 20.0,
    ) -> None:
        self._copy = copy
        self._warn = warn
        self._patience = patience
        self._change = threading.Condition()
        self._history: History | None = None
        self._trials: dict[int, Trial] = {}
        self._points: dict[int, dict[str, Series]] = {}
        self._at_end: Callable[[History], None] | None = None
        self._behind: set[int] = set()
        self._is_prepared = False
        self._is_over = False
        self._closing = False
        self._written = 0
        self._reason = ""
        # A daemon, since a database's driver that hangs must not keep the program from its end.
        self._thread = threading.Thread(target=self._follow_to_end, name="follower", daemon=True)

    def follow(self, history: History) -> None:
        """Takes all trials of a history, before the engine starts and after its end."""
        with self._change:
            self._history = history
            for trial in history.trials:
                self._take(trial)
            self._change.notify()

    def __call__(self, update: Update) -> None:
        """Takes an update of the engine; never raises and never waits for the copy."""
        with self._change:
            match update:
                case TrialStarted(trial) | TrialQueued(trial) | TrialEnded(trial):
                    self._take(trial)
                case MetricReported(number, metric, point):
                    self._points.setdefault(number, {}).setdefault(metric, Series()).append(point)
                    self._behind.add(number)
            self._change.notify()

    def end_with(self, work: Callable[[History], None]) -> None:
        """Takes what is to be done after all trials, with the last history."""
        with self._change:
            self._at_end = work
            self._change.notify()

    def _take(self, trial: Trial) -> None:
        if self._trials.get(trial.number) == trial:
            return
        self._trials[trial.number] = trial
        if not trial.state.is_finished:
            self._points.pop(trial.number, None)
        self._behind.add(trial.number)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Waits until the copy is up to date, and warns if it is not."""
        with self._change:
            self._closing = True
            self._change.notify()
            self._await_driver()
        written = -1
        while self._thread.is_alive() and written != self._written:
            written = self._written
            self._thread.join(self._patience)
        with self._change:
            behind, why = self._is_behind, self._reason
            if not self._is_prepared:
                why = why or f"its driver was not loaded within {_LOADING * self._patience:g} s"
        if behind or self._thread.is_alive():
            self._warn(
                f"{self._copy.option}: {self._copy.what} is not up to date: "
                f"{why or f'nothing was written for {self._patience:g} s'}; the same command, "
                "started again, brings it there"
            )

    def _await_driver(self) -> None:
        """Waits until the driver is loaded, which takes long where it is large; tells so."""

        def loaded() -> bool:
            return self._is_prepared or self._is_over

        if not self._change.wait_for(loaded, _UNTOLD):
            self._warn(f"{self._copy.option}: its driver is still being loaded; the end waits")
            self._change.wait_for(loaded, _LOADING * self._patience)

    def _follow_to_end(self) -> None:
        try:
            self._work()
        finally:
            with self._change:
                self._is_over = True
                self._change.notify_all()

    def _prepare(self) -> None:
        if not self._is_prepared:
            self._copy.prepare()
            with self._change:
                self._is_prepared = True
                self._change.notify_all()

    def _work(self) -> None:
        delay = 0.0
        while True:
            with self._change:
                self._change.wait_for(lambda: self._is_behind or self._closing)
                self._change.wait_for(lambda: self._closing, delay or _TOGETHER)
                if not self._is_behind:
                    return
                last = self._closing
                history, numbers = self._history, sorted(self._behind)
                at_end = self._at_end
            assert history is not None, "follow comes before updates"
            try:
                self._prepare()
                for number in numbers:
                    self._copy.update(history, *self._next(number))
                    self._written += 1
                if at_end is not None:
                    at_end(history)
            except Exception as error:  # whatever the copy's driver raises
                self._copy.forget()
                self._failed(error, warns=not delay and not last)
                if last:
                    return
                delay = min(_LONGEST_DELAY, max(_FIRST_DELAY, 2 * delay))
                continue
            if at_end is not None:
                with self._change:
                    self._at_end = None
            if delay:
                self._warn(f"{self._copy.option}: is up to date again")
            delay, self._reason = 0.0, ""

    @property
    def _is_behind(self) -> bool:
        return bool(self._behind) or self._at_end is not None

    def _next(self, number: int) -> tuple[Trial, Reports]:
        """Returns a trial with its reports so far, as it is to be written now."""
        with self._change:
            self._behind.discard(number)
            trial = self._trials[number]
            reports = {name: each.points for name, each in self._points.get(number, {}).items()}
            assert self._history is not None
            points = reports.get(reported_metric(self._history.experiment.spec.objective))
            if points is not None and not trial.state.is_finished:
                trial = replace(trial, intermediate=points)
            return trial, reports

    def _failed(self, error: Exception, *, warns: bool) -> None:
        with self._change:
            # The last write may be lost, so all trials are compared again.
            self._behind.update(self._trials)
            self._reason = self._copy.why(error)
        if warns:
            self._warn(
                f"{self._copy.option}: cannot be written: {self._reason}; the run goes on, and "
                "this is tried again"
            )
