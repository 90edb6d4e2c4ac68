"""The tests that every runner passes: a class that a runner's own test module subclasses.

The subclass gives a fixture ``lab``, a `Lab`: the place where its jobs run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobOutcome, JobState, Runner, TrialJob
from katibflow.runners.events import Event, LogLine, Started
from katibflow.runners.stopping import StopRequest
from katibflow.study.history import Observation, Trial, TrialState

PATIENCE = 30.0
"""Seconds after which a test gives up waiting for an event."""


@dataclass(frozen=True)
class Work:
    """The work of a trial's job.

    Attributes:
        lines: Lines that the primary container prints first.
        exit_code: Exit code of the work.
        held: Whether the work goes on after its lines until the lab releases it.
        last_lines: Lines that it prints after the release.
    """

    lines: Sequence[str] = ("loss=0.5",)
    exit_code: int = 0
    held: bool = False
    last_lines: Sequence[str] = ()


class Lab(Protocol):
    """A place where jobs run, seen from outside the runner."""

    def runner(self) -> Runner:
        """Returns a runner as a new process would make it."""

    def job(self, number: int, work: Work, limits: Limits = ...) -> TrialJob:
        """Returns a job that does the work; the same arguments give the same job."""

    def release(self, number: int) -> None:
        """Lets a held job go on to its end."""

    def executions(self, number: int) -> int:
        """Returns how often the job's work was begun."""

    def is_alive(self, number: int) -> bool:
        """Returns whether a replica of the trial runs."""


class Watch:
    """An observer that keeps the events and can be waited for."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.threads: set[int] = set()
        self._changed = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            self.threads.add(threading.get_ident())
            self._changed.notify_all()

    @property
    def lines(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, LogLine)]

    @property
    def start(self) -> str:
        (started,) = (event.time for event in self.events if isinstance(event, Started))
        return started

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), self.events

    def wait_for_line(self, text: str) -> None:
        self.wait_for(lambda: text in self.lines)


def trial(number: int, state: TrialState = TrialState.RUNNING, **more: object) -> Trial:
    assignments: Mapping[str, str] = {"lr": "0.01"}
    plain = Trial(number, state, assignments, job=f"contract-0a1b2c3d-{number}")
    return replace(plain, **more)  # type: ignore[arg-type]


class RunnerContract:
    """The contract of `katibflow.runners.base.Runner`."""

    def run(self, lab: Lab, job: TrialJob) -> tuple[JobOutcome, Watch]:
        watch = Watch()
        return lab.runner().run(job, watch, StopRequest()), watch

    def begin(
        self, pool: ThreadPoolExecutor, runner: Runner, job: TrialJob
    ) -> tuple[Future[JobOutcome], Watch, StopRequest]:
        watch, stop = Watch(), StopRequest()
        return pool.submit(runner.run, job, watch, stop), watch, stop

    def test_a_job_that_ends_well_has_succeeded(self, lab: Lab) -> None:
        outcome, _ = self.run(lab, lab.job(0, Work()))
        assert outcome.state is JobState.SUCCEEDED
        assert not lab.is_alive(0)

    def test_all_lines_arrive_in_order_after_the_start(self, lab: Lab) -> None:
        lines = [f"epoch {number} loss=0.{number}" for number in range(1000)]
        _, watch = self.run(lab, lab.job(0, Work(lines)))
        assert isinstance(watch.events[0], Started)
        assert watch.lines == lines

    def test_events_come_from_the_calling_thread(self, lab: Lab) -> None:
        _, watch = self.run(lab, lab.job(0, Work()))
        assert watch.threads == {threading.get_ident()}

    def test_lines_arrive_while_the_job_goes_on(self, lab: Lab) -> None:
        with ThreadPoolExecutor() as pool:
            job = lab.job(0, Work(["loss=0.5"], held=True, last_lines=["loss=0.4"]))
            future, watch, _ = self.begin(pool, lab.runner(), job)
            watch.wait_for_line("loss=0.5")
            assert not future.done()
            lab.release(0)
            assert future.result(PATIENCE).state is JobState.SUCCEEDED
            assert watch.lines == ["loss=0.5", "loss=0.4"]

    def test_a_failure_names_the_exit_code_and_the_last_lines(self, lab: Lab) -> None:
        lines = [f"line {number}" for number in range(20)]
        outcome, watch = self.run(lab, lab.job(0, Work(lines, exit_code=3)))
        assert outcome.state is JobState.FAILED
        assert outcome.reason
        assert "exit code 3" in outcome.message
        assert "line 19" in outcome.message
        assert watch.lines == lines

    def test_a_job_over_its_limit_is_ended_as_failed(self, lab: Lab) -> None:
        job = lab.job(0, Work(["still here"], held=True), Limits(trial=1.0))
        outcome, watch = self.run(lab, job)
        assert (outcome.state, outcome.reason) == (JobState.FAILED, "TrialTimedOut")
        assert "1 s" in outcome.message
        assert watch.lines[:1] == ["still here"]
        assert not lab.is_alive(0)

    def test_a_stop_ends_the_job_with_its_reason(self, lab: Lab) -> None:
        with ThreadPoolExecutor() as pool:
            future, watch, stop = self.begin(
                pool, lab.runner(), lab.job(0, Work(["loss=0.5"], held=True))
            )
            watch.wait_for_line("loss=0.5")
            assert lab.is_alive(0)
            stop.set("the goal is reached")
            outcome = future.result(PATIENCE)
        assert outcome.state is JobState.STOPPED
        assert outcome.message == "the goal is reached"
        assert not lab.is_alive(0)

    def test_a_stop_before_the_start_starts_nothing(self, lab: Lab) -> None:
        stop = StopRequest()
        stop.set("too late")
        outcome = lab.runner().run(lab.job(0, Work()), Watch(), stop)
        assert (outcome.state, outcome.message) == (JobState.STOPPED, "too late")
        assert lab.executions(0) == 0

    def test_a_stopped_job_is_created_anew(self, lab: Lab) -> None:
        work = Work(["loss=0.5"], held=True)
        with ThreadPoolExecutor() as pool:
            future, watch, stop = self.begin(pool, lab.runner(), lab.job(0, work))
            watch.wait_for_line("loss=0.5")
            stop.set("interrupted")
            assert future.result(PATIENCE).state is JobState.STOPPED
            future, watch, stop = self.begin(pool, lab.runner(), lab.job(0, work))
            watch.wait_for_line("loss=0.5")
            lab.release(0)
            assert future.result(PATIENCE).state is JobState.SUCCEEDED
        assert lab.executions(0) == 2

    def test_an_ended_job_is_observed_again_and_not_run_again(self, lab: Lab) -> None:
        for exit_code in (0, 3):
            job = lab.job(exit_code, Work(["loss=0.5", "loss=0.4"], exit_code))
            first, _ = self.run(lab, job)
            second, watch = self.run(lab, job)
            assert (second.state, second.reason) == (first.state, first.reason)
            assert watch.lines == ["loss=0.5", "loss=0.4"]
            assert lab.executions(exit_code) == 1

    def test_several_jobs_run_at_once(self, lab: Lab) -> None:
        runner = lab.runner()
        with ThreadPoolExecutor() as pool:
            begun = [
                self.begin(pool, runner, lab.job(number, Work([f"loss=0.{number}"], held=True)))
                for number in range(4)
            ]
            for number, (_, watch, _) in enumerate(begun):
                watch.wait_for_line(f"loss=0.{number}")
            for number in range(4):
                lab.release(number)
            for number, (future, watch, _) in enumerate(begun):
                assert future.result(PATIENCE).state is JobState.SUCCEEDED
                assert watch.lines == [f"loss=0.{number}"]

    def test_a_run_puts_its_trial_on_record_with_its_start(self, lab: Lab) -> None:
        job = lab.job(3, Work())
        _, watch = self.run(lab, job)
        assert lab.runner().records() == (replace(job.trial, start=watch.start),)

    def test_an_adopted_job_has_the_start_that_it_had(self, lab: Lab) -> None:
        with ThreadPoolExecutor() as pool:
            job = lab.job(0, Work(["loss=0.5"], held=True))
            job = replace(job, trial=replace(job.trial, queued="2026-01-01T00:00:00.000+00:00"))
            future, first, _ = self.begin(pool, lab.runner(), job)
            first.wait_for_line("loss=0.5")
            assert [each.start for each in lab.runner().records()] == [first.start]
            lab.release(0)
            future.result(PATIENCE)
        _, second = self.run(lab, job)
        assert second.start == first.start
        assert datetime.fromisoformat(first.start) <= datetime.now(UTC)
        assert [each.start for each in lab.runner().records()] == [first.start]

    def test_a_stopped_trial_is_queued_again(self, lab: Lab) -> None:
        with ThreadPoolExecutor() as pool:
            job = lab.job(0, Work(["loss=0.5"], held=True))
            future, watch, stop = self.begin(pool, lab.runner(), job)
            watch.wait_for_line("loss=0.5")
            stop.set("interrupted")
            assert future.result(PATIENCE).state is JobState.STOPPED
        assert [each.start for each in lab.runner().records()] == [None]

    def test_a_trial_that_never_had_a_job_has_no_start(self, lab: Lab) -> None:
        lost = trial(0, TrialState.FAIL, queued="2026-01-01T00:00:00.000+00:00", reason="Lost")
        lab.runner().record(lost)
        assert lab.runner().records() == (lost,)

    def test_a_closed_runner_has_left_nothing_of_a_job_that_ended(self, lab: Lab) -> None:
        runner = lab.runner()
        assert runner.run(lab.job(0, Work()), Watch(), StopRequest()).state is JobState.SUCCEEDED
        runner.close()
        assert not lab.is_alive(0)

    def test_records_are_kept_by_number_and_replaced(self, lab: Lab) -> None:
        runner = lab.runner()
        assert runner.records() == ()
        finished = trial(
            1,
            TrialState.COMPLETE,
            observations={"loss": Observation(0.5, 0.4, 0.6)},
            end="2026-01-01T00:00:00.000+00:00",
            reason="TrialSucceeded",
        )
        for record in (trial(10), trial(2), trial(1), finished):
            runner.record(record)
        assert lab.runner().records() == (finished, trial(2), trial(10))

    def test_a_sweep_stops_what_is_not_kept(self, lab: Lab) -> None:
        runner = lab.runner()
        with ThreadPoolExecutor() as pool:
            kept, watch, _ = self.begin(pool, runner, lab.job(0, Work(["kept"], held=True)))
            watch.wait_for_line("kept")
            swept, watch, _ = self.begin(pool, runner, lab.job(1, Work(["swept"], held=True)))
            watch.wait_for_line("swept")
            runner.sweep({0}, "the experiment is over")
            outcome = swept.result(PATIENCE)
            assert (outcome.state, outcome.message) == (
                JobState.STOPPED,
                "the experiment is over",
            )
            assert not lab.is_alive(1)
            assert lab.is_alive(0)
            lab.release(0)
            assert kept.result(PATIENCE).state is JobState.SUCCEEDED
