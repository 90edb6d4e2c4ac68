"""A run that is followed while servers come and go."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from katibflow.client.access import Access
from katibflow.client.api import connect
from katibflow.client.base import Pipelines, Run, Unreachable
from katibflow.client.following import ending_of, follow, steps_text, updates_between
from katibflow.client.reading import ExperimentRun
from katibflow.client.records import JobRecords, cluster_of
from katibflow.client.submitting import Submission, prepare, start, upload
from katibflow.engine.events import TrialEnded, TrialsTakenOver, TrialStarted, Update
from katibflow.errors import RunnerError
from katibflow.experiment.types import Experiment
from katibflow.progress.display import time_left
from katibflow.progress.status import Status
from katibflow.study.history import History, Trial, TrialState
from katibflow.study.resume import EarlierTrial, run_name, search_text, taken_over_before
from katibflow.validation.rules import check_document
from tests.doubles.kfp.lab import SCRIPT, put_trial
from tests.doubles.kfp.server import KfpServer, Play
from tests.doubles.kubernetes.lab import Lab
from tests.shell_trials import document

RUN = "11111111-2222-3333-4444-555555555555"


class Shown:
    """A screen that keeps what it shows."""

    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.texts: list[str] = []
        self.notes: list[str] = []

    def taken_over(self, trials: Sequence[Trial]) -> None:
        self.updates.append(TrialsTakenOver(tuple(trials)))

    def update(self, update: Update) -> None:
        self.updates.append(update)

    def steps(self, text: str) -> None:
        self.texts.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)


def experiment() -> Experiment:
    return check_document(document(SCRIPT), "test")


def started(server: KfpServer) -> tuple[Pipelines, ExperimentRun, Play]:
    pipelines = connect(Access(server.url))
    ready = prepare(Submission(experiment(), "test", image="python:x"))
    version, _ = upload(pipelines, ready)
    run = start(pipelines, ready, version)
    play = Play(server, server.runs[run.run_id])
    play.state("RUNNING")
    return pipelines, ExperimentRun(run, ready.experiment, "rounds", "none"), play


def test_a_server_that_is_away_for_a_while_is_waited_for(kfp_server: KfpServer) -> None:
    pipelines, experiment_run, play = started(kfp_server)
    shown, looks = Shown(), 0

    def pause() -> bool:
        nonlocal looks
        looks += 1
        match looks:
            case 1:
                kfp_server.down()
            case 3:
                kfp_server.up()
                kfp_server.fail(lambda *_: True, 502)
            case 5:
                play.state("SUCCEEDED")
        return False

    run, _ = follow(pipelines, experiment_run.run.run_id, None, shown, pause)
    assert run.state == "SUCCEEDED"
    assert looks == 5
    assert [("does not answer" in note, "502" in note) for note in shown.notes] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert shown.texts == ["running", "succeeded"]


def test_a_server_that_stays_away_ends_the_following(kfp_server: KfpServer) -> None:
    pipelines, experiment_run, _ = started(kfp_server)

    def pause() -> bool:
        kfp_server.down()
        return False

    with pytest.raises(Unreachable):
        follow(pipelines, experiment_run.run.run_id, None, Shown(), pause, patience=0.0)


def test_a_token_that_expires_ends_the_following(kfp_server: KfpServer) -> None:
    pipelines, experiment_run, _ = started(kfp_server)

    def pause() -> bool:
        kfp_server.secret = "Bearer another"
        return False

    with pytest.raises(RunnerError, match="answers 401"):
        follow(pipelines, experiment_run.run.run_id, None, Shown(), pause)


def test_a_pause_that_was_enough_ends_the_following(kfp_server: KfpServer) -> None:
    pipelines, experiment_run, _ = started(kfp_server)
    run, history = follow(pipelines, experiment_run.run.run_id, None, Shown(), lambda: True)
    assert (run.state, history) == ("RUNNING", None)


def test_a_cluster_that_cannot_be_read_is_noted_and_the_steps_are_shown(
    kfp_server: KfpServer, cluster: Lab
) -> None:
    pipelines, experiment_run, play = started(kfp_server)
    cluster.server.rules = []
    shown = Shown()

    def pause() -> bool:
        play.state("SUCCEEDED")
        return False

    records = JobRecords.of(cluster_of("", None), experiment_run)
    _, history = follow(pipelines, experiment_run.run.run_id, records, shown, pause)
    assert history is None
    assert shown.texts == ["running", "succeeded"]
    (note,) = shown.notes
    assert note.startswith("the trials cannot be read from the cluster: the API server answers 403")


def test_the_end_is_told_of_the_trials_as_they_are_after_it(
    kfp_server: KfpServer, cluster: Lab
) -> None:
    """A cluster that refuses just when the run ends is asked again."""
    pipelines, experiment_run, play = started(kfp_server)
    put_trial(cluster.server, experiment_run.run.run_id, 0)
    shown, rules, looks = Shown(), cluster.server.rules, 0

    def pause() -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            put_trial(cluster.server, experiment_run.run.run_id, 0, 0.5)
            play.state("SUCCEEDED")
            cluster.server.rules = []
        else:
            cluster.server.rules = rules
        return False

    records = JobRecords.of(cluster_of("", None), experiment_run)
    _, history = follow(pipelines, experiment_run.run.run_id, records, shown, pause)
    assert history is not None
    assert [trial.state for trial in history.trials] == [TrialState.COMPLETE]
    assert [type(update) for update in shown.updates] == [TrialStarted, TrialEnded]
    assert looks == 2


def trial(number: int, state: TrialState = TrialState.RUNNING, end: str | None = None) -> Trial:
    return Trial(number, state, {"x": "1"}, start=end, end=end, job=f"sample-0a0a0a0a-{number}")


def test_each_trial_begins_once_and_ends_once() -> None:
    seen: dict[int, Trial] = {}
    first = [trial(0), trial(1, TrialState.COMPLETE)]
    told = [(type(each), each.trial.number) for each in updates_between(seen, first)]  # type: ignore[union-attr]
    assert told == [(TrialStarted, 0), (TrialStarted, 1), (TrialEnded, 1)]
    then = [trial(0, TrialState.FAIL), first[1]]
    told = [(type(each), each.trial.number) for each in updates_between(seen, then)]  # type: ignore[union-attr]
    assert told == [(TrialEnded, 0)]
    assert list(updates_between(seen, then)) == []


def run(state: str, **more: object) -> Run:
    return Run(RUN, "sample", state, datetime.now(UTC), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "succeeded", "reason"),
    [
        ("PENDING", None, "NotFinished"),
        ("CANCELING", None, "NotFinished"),
        ("CANCELED", False, "PipelineRunEnded"),
        ("SKIPPED", False, "PipelineRunEnded"),
        ("SUCCEEDED", True, "PipelineRunEnded"),
    ],
)
def test_an_ending_without_trials_goes_by_the_run_s_state(
    state: str, succeeded: bool | None, reason: str
) -> None:
    ending = ending_of(run(state), None)
    assert (ending.succeeded, ending.reason) == (succeeded, reason)
    assert state in ending.message
    assert steps_text(run(state)) == state.lower()


def earlier(name: str, number: int, end: str, state: str = "COMPLETE") -> EarlierTrial:
    ended = Trial(number, TrialState(state), {"x": "1"}, start=end, end=end, job=f"sample-{name}-0")
    return EarlierTrial(name, ended, search_text(experiment()))


def test_only_what_had_ended_before_a_run_is_part_of_it() -> None:
    empty = History(experiment(), run_name(RUN), 0)
    known = [
        earlier("aaaaaaaa", 0, "2026-01-01T00:00:00Z"),
        earlier("aaaaaaaa", 1, "2026-01-02T00:00:00Z", "KILLED"),
        earlier("bbbbbbbb", 0, "2026-01-03T00:00:00Z"),
        earlier("cccccccc", 0, "2026-01-04T00:00:00Z"),
        earlier(empty.run, 2, "2026-01-01T00:00:00Z"),
    ]
    taken = taken_over_before(empty, "all", 2, known)
    assert [(each.number, each.job) for each in taken] == [
        (0, "sample-aaaaaaaa-0"),
        (1, "sample-bbbbbbbb-0"),
    ]
    assert [each.job for each in taken_over_before(empty, "cccccccc", 1, known)] == [
        "sample-cccccccc-0"
    ]
    assert taken_over_before(empty, "all", 4, known) == ()  # one of them was deleted
    assert taken_over_before(empty, "none", 1, known) == ()
    assert taken_over_before(empty, "dddddddd", 1, known) == ()


def test_the_time_that_is_left_goes_by_the_pace_of_this_run() -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    now = since + timedelta(seconds=100)
    old = trial(0, TrialState.COMPLETE, "2025-12-31T00:00:00+00:00")
    new = trial(1, TrialState.COMPLETE, "2026-01-01T00:01:00+00:00")
    killed = trial(3, TrialState.KILLED, "2026-01-01T00:01:00+00:00")
    status = Status.of(experiment(), (old, trial(2), killed))
    assert time_left(status, since, now) is None
    new = replace(new, start="2026-01-01T00:00:00+00:00")
    status = Status.of(experiment(), (old, new, trial(2), killed))
    assert time_left(status, since, now) == (6 - 2) * 100
    waited = replace(new, start="2026-01-01T00:00:50+00:00")  # for its pods, not for trials
    assert time_left(Status.of(experiment(), (old, waited)), since, now) == (6 - 2) * 50
    endless = check_document(document(SCRIPT, {"spec.maxTrialCount": None}), "test")
    assert time_left(Status.of(endless, (new,)), since, now) is None


def test_a_dead_connection_is_not_waited_for_for_ever(
    kfp_server: KfpServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pipelines = connect(Access(kfp_server.url))
    monkeypatch.setattr("katibflow.client.api._TIMEOUT", (0.2, 0.2))
    release = threading.Event()

    def never(method: str, path: str) -> bool:
        release.wait(20)
        return False

    kfp_server.fail(never, 200)
    try:
        with pytest.raises(Unreachable, match=r"does not answer: .*[Tt]ime"):
            pipelines.run(RUN)
    finally:
        release.set()
