"""Opens the tracker of a run: it follows the run in a thread, and gets its end and its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from katibflow.engine.events import Update
from katibflow.storage.follower import Copy, Follower, Reports
from katibflow.study.ending import Ending
from katibflow.study.history import History, Trial
from katibflow.tracking import Tracked
from katibflow.tracking.base import Files, Tracker

__all__ = ["Tracking", "tracking"]


class Tracking(Protocol):
    """Takes the trials of a run while it goes on, and its end."""

    def follow(self, history: History) -> None:
        """Takes all trials of a history, before the engine starts and after its end."""

    def __call__(self, update: Update) -> None:
        """Takes an update of the engine; never raises and never waits."""

    def end(self, history: History, ending: Ending, report: Path) -> None:
        """Takes how the run ended and its report; never raises and never waits."""


class _NoTracking:
    """Does nothing, for a run without a tracker."""

    def follow(self, history: History) -> None:
        pass

    def __call__(self, update: Update) -> None:
        pass

    def end(self, history: History, ending: Ending, report: Path) -> None:
        pass


class _Following(Follower):
    """Follows a run for a tracker."""

    def __init__(
        self,
        tracker: Tracker,
        option: str,
        files: Files,
        warn: Callable[[str], None],
        patience: float,
    ) -> None:
        def update(history: History, trial: Trial, reports: Reports) -> None:
            tracker.update(history, trial, reports, files)

        super().__init__(
            Copy(option, "the tracker", update, tracker.forget, tracker.why, tracker.prepare),
            warn,
            patience,
        )
        self._tracker = tracker
        self._files = files

    def end(self, history: History, ending: Ending, report: Path) -> None:
        """Takes how the run ended and its report; never raises and never waits."""
        self.end_with(lambda _: self._tracker.end(history, ending, report, self._files))


@contextmanager
def tracking(
    tracked: Tracked | None,
    files: Files,
    warn: Callable[[str], None],
    patience: float = 20.0,
) -> Iterator[Tracking]:
    """Opens the tracker of a run, for the length of a ``with`` block.

    Args:
        tracked: The tracker; None for a run without one.
        files: The files of the run.
        warn: Takes each warning for the user, in any thread.
        patience: Seconds without anything written after which the end no longer waits; 20 by
            default.

    Raises:
        MissingPackage: The tracker's client is not installed.
    """
    if tracked is None:
        yield _NoTracking()
        return
    option = f"--track {tracked.text.partition(':')[0]}"  # a place may have a password
    with _Following(tracked.make(), option, files, warn, patience) as following:
        yield following
