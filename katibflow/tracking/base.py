"""Defines `Tracker`: what writes a run and its trials to a tracking server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from katibflow.storage.follower import Reports
from katibflow.study.ending import Ending
from katibflow.study.files import STUDY_FILE
from katibflow.study.history import History, Point, Trial
from katibflow.study.objectives import reported_metric

__all__ = ["Files", "Tracker", "metrics_at_end", "milliseconds", "reports_of"]


@dataclass(frozen=True)
class Files:
    """The files of a run that a tracker keeps.

    Attributes:
        study: The study's file; it need not exist.
        logs: Returns the logs of a trial, by replica.
    """

    study: Path
    logs: Callable[[int], Mapping[str, Path]]

    @classmethod
    def in_folder(cls, folder: Path) -> Files:
        """Returns the files of a run's folder."""

        def logs(number: int) -> Mapping[str, Path]:
            found = sorted(folder.glob(f"trials/*{number}/*.log"))
            return {
                path.stem: path
                for path in found
                if path.parent.name.isdigit() and int(path.parent.name) == number
            }

        return cls(folder / STUDY_FILE, logs)


class Tracker(Protocol):
    """Writes a run, and each of its trials below it, to a tracking server.

    All methods are called from one thread, may raise whatever the client raises, and are called
    again then. What is there already, also from an earlier process, is not written a second time.
    """

    def prepare(self) -> None:
        """Loads the tracker's client, which may take long; nothing is written yet."""

    def update(self, history: History, trial: Trial, reports: Reports, files: Files) -> None:
        """Brings a trial up to date: parameters, metrics with their steps, state and logs.

        Args:
            history: The history that the trial belongs to.
            trial: The trial, running or finished.
            reports: What it has reported in this process.
            files: The files of the run.
        """

    def end(self, history: History, ending: Ending, report: Path, files: Files) -> None:
        """Writes how the run ended, and its report; all trials are up to date then."""

    def forget(self) -> None:
        """Forgets what is on the server, after an error; the next use reads it again."""

    def why(self, error: BaseException) -> str:
        """Returns an error as one line, without secrets."""


def reports_of(history: History, trial: Trial, reports: Reports) -> Reports:
    """Returns all that is known of what a trial reported, by metric.

    What this process has not seen comes from the record: all points of the objective, and of other
    metrics their last values.
    """
    objective = reported_metric(history.experiment.spec.objective)
    known = dict(reports)
    if trial.intermediate:
        known.setdefault(objective, trial.intermediate)
    for name, seen in trial.observations.items():
        known.setdefault(name, (Point(0, seen.latest, time=trial.end),))
    return known


def metrics_at_end(history: History, trial: Trial) -> dict[str, float]:
    """Returns the values that count of a finished trial, by metric and strategy, as loss.min.

    A value that is the metric's last one is left out, as each tracker shows that by itself.
    """
    objective = history.experiment.spec.objective
    return {
        f"{name}.{objective.strategy(name)}": value
        for name, seen in trial.observations.items()
        if (value := seen.value(objective.strategy(name))) != seen.latest
    }


def milliseconds(text: str | None) -> int | None:
    """Returns a time (ISO 8601) in milliseconds since 1970, or None if it is none."""
    try:
        return round(datetime.fromisoformat(text or "").timestamp() * 1000)
    except ValueError:
        return None
