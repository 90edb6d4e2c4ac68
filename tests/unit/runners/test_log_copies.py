"""Tests the copies of trials' logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from katibflow.errors import RunnerError
from katibflow.runners.base import JobOutcome, JobState, TrialJob
from katibflow.runners.events import Event, LogLine, MetricLine, Notice, Observer, Started
from katibflow.runners.log_copies import LoggedRunner, Logs, copied
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Trial, TrialState

EVENTS: tuple[Event, ...] = (
    Started("2026-01-01T00:00:00.000+00:00"),
    LogLine("one"),
    MetricLine("loss 1"),
    Notice("slow"),
    LogLine("two \ud800"),
)
JOB = TrialJob(Trial(7, TrialState.RUNNING, {}), {}, None)


class Telling:
    """A runner whose jobs send `EVENTS` and end well."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def records(self) -> list[Trial]:
        return [JOB.trial]

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        for event in EVENTS:
            observe(event)
        return JobOutcome(JobState.SUCCEEDED)

    def record(self, trial: Trial) -> None:
        self.calls.append(trial)

    def sweep(self, keep: object, reason: str) -> None:
        self.calls.append((keep, reason))

    def close(self) -> None:
        self.calls.append("closed")


def test_lines_are_in_their_files_when_they_are_passed_on(tmp_path: Path) -> None:
    logs: Logs = {LogLine: tmp_path / "out", MetricLine: tmp_path / "metrics"}
    (tmp_path / "out").write_text("of an earlier try")
    seen = []
    with copied(logs, lambda event: seen.append((event, (tmp_path / "out").read_text()))) as keep:
        for event in EVENTS:
            keep(event)
    assert [event for event, _ in seen] == list(EVENTS)
    assert [text for _, text in seen] == ["", "one\n", "one\n", "one\n", "one\ntwo ?\n"]
    assert (tmp_path / "metrics").read_text() == "loss 1\n"


def test_a_kind_without_a_file_is_passed_on_only(tmp_path: Path) -> None:
    seen: list[Event] = []
    with copied({LogLine: tmp_path / "out"}, seen.append) as keep:
        keep(MetricLine("loss 1"))
    assert seen == [MetricLine("loss 1")]
    assert (tmp_path / "out").read_text() == ""


def test_a_logged_runner_is_the_other_one_and_keeps_the_lines(tmp_path: Path) -> None:
    telling, seen = Telling(), list[Event]()
    runner = LoggedRunner(telling, lambda job: {LogLine: tmp_path / f"{job.trial.number:04}.log"})
    assert runner.run(JOB, seen.append, StopRequest()) == JobOutcome(JobState.SUCCEEDED)
    assert seen == list(EVENTS)
    assert (tmp_path / "0007.log").read_text() == "one\ntwo ?\n"
    assert runner.records() == [JOB.trial]
    runner.record(JOB.trial)
    runner.sweep((3,), "over")
    runner.close()
    assert telling.calls == [JOB.trial, ((3,), "over"), "closed"]


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    runner = LoggedRunner(Telling(), lambda job: {LogLine: tmp_path / "none" / "log"})
    with pytest.raises(RunnerError, match="none/log: No such file"):
        runner.run(JOB, lambda event: None, StopRequest())
