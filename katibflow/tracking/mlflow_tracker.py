"""Writes a run to MLflow: one run for the experiment, and one below it for each trial.

Runs are found again by tags, so a run that was killed goes on in them. Import the module late: it
imports MLflow's client when it is first used, which takes seconds.
"""

from __future__ import annotations

import math
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from katibflow.storage.follower import Reports
from katibflow.study.best import best_of
from katibflow.study.ending import Ending
from katibflow.study.history import History, Point, Trial, TrialState
from katibflow.study.objectives import aims_texts
from katibflow.tracking.base import Files, metrics_at_end, milliseconds, reports_of

if TYPE_CHECKING:
    from mlflow import MlflowClient  # type: ignore[import-not-found,unused-ignore]

__all__ = ["MlflowTracker"]

_RUN = "katibflow.run"
_TRIAL = "katibflow.trial"
_STATE = "katibflow.state"
_PARENT = "mlflow.parentRunId"

_STATUS = {
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "FINISHED",
    TrialState.FAIL: "FAILED",
    TrialState.KILLED: "KILLED",
}
"""MLflow has no word for a pruned trial: its tag katibflow.state has it."""

_FOREIGN = re.compile(r"[^\w\-. /]")
"""What MLflow refuses in the name of a parameter or a metric."""

_BATCH = 900
"""Metrics in one request; MLflow takes 1000."""

_LONGEST_PARAMETER = 6000
_LONGEST_TAG = 5000
_REASON_LENGTH = 300
_CONNECT_SECONDS = 5.0


class MlflowTracker:
    """Writes a run to an MLflow server or database.

    Args:
        place: The tracking URI; "" for MLflow's own default.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._parent: str | None = None
        self._experiment = ""
        self._children: dict[int, str] = {}
        self._over: set[int] = set()
        self._written: dict[int, set[tuple[str, int, str]]] = {}

    @cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(self._place or None)

    def prepare(self) -> None:
        """Imports MLflow's client, and makes the tables of a database that has none."""
        _ = self._client

    def update(self, history: History, trial: Trial, reports: Reports, files: Files) -> None:
        """Brings a trial up to date; see `Tracker`."""
        from mlflow.entities import (  # type: ignore[import-not-found,unused-ignore]
            Metric,
            Param,
            RunTag,
        )

        parent = self._open(history)
        if trial.number in self._over:
            return
        run = self._child(history, trial, parent)
        written = self._written[trial.number]
        now = round(time.time() * 1000)
        metrics = [
            Metric(name, value, milliseconds(point.time) or now, point.step)
            for name, point, value in _points(reports_of(history, trial, reports))
            if (name, point.step, repr(value)) not in written
        ]
        if trial.state.is_finished:
            end = milliseconds(trial.end) or now
            metrics += [
                Metric(_named(name), value, end, 0)
                for name, value in metrics_at_end(history, trial).items()
                if math.isfinite(value)
            ]
        params = [
            Param(_named(name), text[:_LONGEST_PARAMETER])
            for name, text in trial.assignments.items()
        ]
        tags = {_STATE: trial.state.value, "katibflow.job": trial.job or ""}
        tags |= {"katibflow.reason": trial.reason, "mlflow.note.content": trial.message}
        listed = [RunTag(key, text[:_LONGEST_TAG]) for key, text in tags.items() if text]
        self._client.log_batch(run, params=params, tags=[] if trial.state.is_finished else listed)
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(run, metrics=metrics[start : start + _BATCH])
        written.update((each.key, each.step, repr(each.value)) for each in metrics)
        if trial.state.is_finished:
            for path in files.logs(trial.number).values():
                self._client.log_artifact(run, str(path), "logs")
            # The state comes last: a run that is killed before writes all of this again.
            self._client.set_terminated(run, _STATUS[trial.state], milliseconds(trial.end))
            self._client.log_batch(run, tags=listed)
            self._over.add(trial.number)

    def end(self, history: History, ending: Ending, report: Path, files: Files) -> None:
        """Writes the end of the run, its best trial, its report and its history."""
        run = self._open(history)
        best = best_of(history.experiment.spec.objective, history.trials)
        for name, value in best.metrics().items():
            self._client.log_metric(run, _named(name), value, step=len(history.trials))
        self._client.set_tag(run, "katibflow.reason", ending.reason)
        self._client.set_tag(run, "mlflow.note.content", ending.message[:_LONGEST_TAG])
        for path in (report, files.study):
            if path.is_file():
                self._client.log_artifact(run, str(path))
        status = {True: "FINISHED", False: "FAILED", None: "KILLED"}[ending.succeeded]
        self._client.set_terminated(run, status)

    def forget(self) -> None:
        """Forgets what is on the server; the next use reads it again."""
        self._parent = None

    def why(self, error: BaseException) -> str:
        """Returns an error as one line, without the password of the place."""
        text = " ".join(str(error).split()) or type(error).__name__
        secret = _password(self._place)
        return (text.replace(secret, "***") if secret else text)[:_REASON_LENGTH]

    def _open(self, history: History) -> str:
        """Returns the run of the experiment, which it finds or makes."""
        from mlflow.entities import Param

        if self._parent is not None:
            return self._parent
        _check_reachable(self._client.tracking_uri)
        name = history.experiment.name
        known = self._client.get_experiment_by_name(name)
        of = known.experiment_id if known is not None else self._client.create_experiment(name)
        found = self._search(of, f"tags.`{_RUN}` = '{history.run}' and tags.`{_STATE}` = 'run'")
        run: str | None = next((each.info.run_id for each in found), None)
        if run is None:
            spec = history.experiment.spec
            begun = [milliseconds(trial.queued or trial.start) for trial in history.trials]
            made = self._client.create_run(
                of,
                start_time=min((each for each in begun if each is not None), default=None),
                tags={_RUN: history.run, _STATE: "run"},
                run_name=f"{name} {history.run}",
            )
            run = made.info.run_id
            settings = {
                "objective": "; ".join(aims_texts(spec.objective)),
                "algorithm": spec.algorithm.algorithm_name,
                "seed": history.seed,
                "maxTrialCount": spec.max_trial_count,
                "parallelTrialCount": spec.parallelism,
                "maxFailedTrialCount": spec.max_failed_trial_count,
                **{f"algorithm.{s.name}": s.value for s in spec.algorithm.algorithm_settings},
            }
            params = [
                Param(_named(key), str(value)[:_LONGEST_PARAMETER])
                for key, value in settings.items()
                if value is not None
            ]
            self._client.log_batch(run, params=params)
        else:
            self._client.update_run(run, status="RUNNING")
        self._children, self._over, self._written = {}, set(), {}
        for each in self._search(of, f"tags.`{_PARENT}` = '{run}'"):
            number = int(each.data.tags[_TRIAL])
            self._children[number] = each.info.run_id
            if each.data.tags.get(_STATE) in _FINISHED:
                self._over.add(number)
        self._parent, self._experiment = run, of
        return run

    def _child(self, history: History, trial: Trial, parent: str) -> str:
        """Returns the run of a trial, which it makes unless it is there."""
        number = trial.number
        if number not in self._children:
            made = self._client.create_run(
                self._experiment,
                start_time=milliseconds(trial.start or trial.queued),
                tags={_PARENT: parent, _RUN: history.run, _TRIAL: str(number)},
                run_name=f"trial {number}",
            )
            self._children[number] = made.info.run_id
            self._written[number] = set()
        if number not in self._written:
            self._written[number] = set(self._on_server(self._children[number]))
        return self._children[number]

    def _on_server(self, run: str) -> Iterator[tuple[str, int, str]]:
        for name in self._client.get_run(run).data.metrics:
            for each in self._client.get_metric_history(run, name):
                yield name, each.step, repr(each.value)

    def _search(self, experiment: str, wanted: str) -> Iterator[Any]:
        token = None
        while True:
            page = self._client.search_runs([experiment], wanted, page_token=token)
            yield from page
            token = page.token
            if not token:
                return


_FINISHED = frozenset(state.value for state in TrialState if state.is_finished)


def _points(reports: Mapping[str, Iterable[Point]]) -> Iterator[tuple[str, Point, float]]:
    for name, points in reports.items():
        for point in points:
            if math.isfinite(point.value):
                yield _named(name), point, point.value


def _named(name: str) -> str:
    return _FOREIGN.sub("_", name)


def _password(place: str) -> str:
    try:
        return urlsplit(place).password or ""
    except ValueError:
        return ""


def _check_reachable(uri: str) -> None:
    """Connects to a server once, since MLflow's own client tries for minutes before it gives up."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https") and parts.hostname is not None:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname, port), _CONNECT_SECONDS).close()
