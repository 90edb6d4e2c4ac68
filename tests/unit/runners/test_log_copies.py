"""Tests the copies of trials' logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from katibflow.errors import RunnerError
from katibflow.runners.base import JobOutcome, JobState, Runner, TrialJob
from katibflow.runners.events import Event, LogLine, MetricLine, Notice, Observer, Started
from katibflow.runners.log_copies import LoggedRunner, Logs, copied, position_of
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


class Adopting(Telling):
    """A runner whose job is adopted: its output goes on after the line that the caller has."""

    def __init__(self, job: str) -> None:
        super().__init__()
        self.job = job

    def run(self, job: TrialJob, observe: Observer, stop: StopRequest) -> JobOutcome:
        self.calls.append(job.after)
        goes_on = job.after.startswith(self.job)
        observe(Started("2026-01-01T00:00:00.000+00:00", goes_on))
        first = int(job.after.split()[1]) + 1 if goes_on else 0
        for number in range(first, first + 2):
            observe(LogLine(f"line {number}", f"{self.job} {number}"))
        return JobOutcome(JobState.STOPPED)


def test_the_copy_of_an_adopted_job_goes_on_and_is_told_again(tmp_path: Path) -> None:
    path = tmp_path / "main.log"

    def lines(runner: Runner) -> list[str]:
        seen = list[Event]()
        LoggedRunner(runner, lambda job: {LogLine: path}, goes_on=True).run(
            JOB, seen.append, StopRequest()
        )
        return [event.text for event in seen if isinstance(event, LogLine)]

    assert lines(Adopting("a")) == ["line 0", "line 1"]
    path.write_text(path.read_text() + "of which no position tells")
    again = Adopting("a")
    assert lines(again) == ["line 0", "line 1", "line 2", "line 3"]
    assert again.calls == ["a 1"]
    assert path.read_text() == "line 0\nline 1\nline 2\nline 3\n"
    assert lines(Adopting("b")) == ["line 0", "line 1"]  # the job was created anew
    assert path.read_text() == "line 0\nline 1\n"


@pytest.mark.parametrize("text", ["", "{", '{"version": 2, "bytes": 0, "position": "a 1"}'])
def test_a_position_that_cannot_be_read_begins_the_copy_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "main.log"
    path.write_text("old\n")
    position_of(path).write_text(text)
    runner = Adopting("a")
    LoggedRunner(runner, lambda job: {LogLine: path}, goes_on=True).run(
        JOB, lambda event: None, StopRequest()
    )
    assert runner.calls == [""]
    assert path.read_text() == "line 0\nline 1\n"
