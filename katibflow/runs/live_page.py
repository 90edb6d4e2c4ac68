"""Writes the report of a run anew while the run goes on, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType

from katibflow.engine.events import (
    MetricReported,
    TrialEnded,
    TrialQueued,
    TrialsTakenOver,
    TrialStarted,
    Update,
)
from katibflow.errors import KatibflowError
from katibflow.study.history import History
from katibflow.study.objectives import reported_metric
from katibflow.study.series import Series

__all__ = ["LivePage"]

_PERIOD = 10.0
"""Seconds between two pages."""

_SHARE = 20
"""A page that takes long is written more seldom, so that it takes a twentieth of the time."""


class LivePage:
    """Watches a run and writes its page after changes, but not in the run's first seconds.

    A page that cannot be written harms no run: the last page, at the run's end, tells why.

    Args:
        history: The history that the run begins with.
        write: Writes a page of a history that loads itself again after some seconds.
        period: Seconds between two pages; 10 by default.
    """

    def __init__(
        self, history: History, write: Callable[[History, float], None], period: float = _PERIOD
    ) -> None:
        self._history = history
        # By number: an update must not cost more the more trials there are.
        self._trials = {trial.number: trial for trial in history.trials}
        self._write = write
        self._period = period
        self._points: dict[int, Series] = {}
        self._metric = reported_metric(history.experiment.spec.objective)
        self._change = threading.Condition()
        self._is_new = bool(history.trials)
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="live-page", daemon=True)

    def __call__(self, update: Update) -> None:
        """Takes an update of the engine; never raises and never waits for a page."""
        with self._change:
            match update:
                case TrialStarted(trial) | TrialQueued(trial) | TrialEnded(trial):
                    self._points.pop(trial.number, None)
                    self._trials[trial.number] = trial
                case TrialsTakenOver(trials):
                    self._trials.update((trial.number, trial) for trial in trials)
                case MetricReported(number, metric, point) if metric == self._metric:
                    self._points.setdefault(number, Series()).append(point)
                case _:
                    return
            self._is_new = True
            self._change.notify()

    def __enter__(self) -> LivePage:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Waits for a page that is being written, since the run's last page replaces it."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()

    def _work(self) -> None:
        pause = self._period
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closing, pause)
                self._change.wait_for(lambda: self._closing or self._is_new)
                if self._closing:
                    return
                self._is_new = False
                history = self._now()
            begun = time.monotonic()
            # Whatever fails here, a disk or a plot, fails again at the end, where it is told.
            with suppress(KatibflowError, OSError, ValueError):
                self._write(history, pause)
            pause = max(self._period, _SHARE * (time.monotonic() - begun))

    def _now(self) -> History:
        """Returns the history, its running trials with their reports so far."""
        return self._history.with_trials(
            replace(trial, intermediate=self._points[trial.number].points)
            if trial.number in self._points
            else trial
            for trial in self._trials.values()
        )
