"""Tests that the runner survives faults of the API server without losing or doubling anything."""

from __future__ import annotations

import threading
from dataclasses import replace
from time import monotonic

import pytest

from katibflow.errors import RunnerError
from katibflow.experiment.timeouts import Limits
from katibflow.runners.base import JobState
from katibflow.runners.kubernetes.api import ApiError, Timing
from katibflow.runners.stopping import StopRequest
from tests.behaviour.runner_contract import Watch
from tests.doubles.kubernetes.lab import FAST, Lab, notices
from tests.doubles.kubernetes.plays import JobPlay, PodPlay, completes
from tests.doubles.kubernetes.server import Request


class Held:
    """A script whose pod runs until it is let go."""

    def __init__(self) -> None:
        self.pods: list[PodPlay] = []
        self.running = threading.Event()
        self.go = threading.Event()

    def __call__(self, play: JobPlay) -> None:
        self.pods = play.pods()
        self.pods[0].running()
        self.pods[0].log("first")
        self.running.set()
        if not self.go.wait(20):
            return
        self.pods[0].log("last")
        self.pods[0].exit()
        play.condition("Complete")


def any_request(request: Request) -> bool:
    return True


def creating(request: Request) -> bool:
    return request.verb == "create"


def watching(request: Request) -> bool:
    return request.verb == "watch"


@pytest.mark.parametrize("status", [429, 500, 503, 504])
def test_every_request_is_tried_again(lab: Lab, status: int) -> None:
    lab.server.fail(any_request, status, times=3)
    outcome, watch = lab.run(completes(["a", "b"]))
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == ["a", "b"]
    assert lab.server.count("create", "jobs") == 4
    lab.server.fail(creating, status, times=3)
    assert lab.begin(number=1)[0].result(20).state is JobState.SUCCEEDED
    assert lab.server.count("create", "jobs") == 4 + 4


def test_the_servers_wish_to_wait_is_heeded(lab: Lab) -> None:
    lab.server.fail(creating, 429, headers={"Retry-After": "1"})
    begun = threading.Event()

    def script(play: JobPlay) -> None:
        begun.set()
        completes()(play)

    future, _, _ = lab.begin(script)
    assert not begun.wait(0.9)
    assert future.result(10).state is JobState.SUCCEEDED


def test_a_create_whose_answer_was_lost_runs_the_trial_once(lab: Lab) -> None:
    lab.server.fail(creating, 500, applied=True)
    outcome, _ = lab.run(completes())
    assert outcome.state is JobState.SUCCEEDED
    assert len(lab.pods()) == 1


def test_a_watch_that_is_cut_in_the_middle_of_a_line_goes_on(lab: Lab) -> None:
    held = Held()
    future, watch, _ = lab.begin(held)
    watch.wait_for_line("first")
    lists = lab.server.count("list", "pods"), lab.server.count("list", "jobs")
    lab.server.cut_watch_lines = 2
    held.go.set()
    assert future.result(10).state is JobState.SUCCEEDED
    assert watch.lines == ["first", "last"]
    assert lab.server.cut_watch_lines == 0
    assert (lab.server.count("list", "pods"), lab.server.count("list", "jobs")) == lists


def test_a_forgotten_version_is_listed_again(lab: Lab) -> None:
    held = Held()
    future, watch, _ = lab.begin(held)
    watch.wait_for_line("first")
    lab.server.compact()
    lab.server.wait_for(lambda: lab.server.count("list", "jobs") > 1)
    held.go.set()
    assert future.result(10).state is JobState.SUCCEEDED
    assert watch.lines == ["first", "last"]


def test_a_watch_that_is_refused_with_410_is_listed_again(lab: Lab) -> None:
    lab.server.fail(watching, 410, times=2)
    outcome, _ = lab.run(completes())
    assert outcome.state is JobState.SUCCEEDED


def test_what_vanished_while_no_watch_ran_is_told_after_the_next_list(lab: Lab) -> None:
    held = Held()
    future, watch, _ = lab.begin(held)
    watch.wait_for_line("first")
    with lab.server.changed:
        lab.server.delete("jobs", "contract-0a1b2c3d-0")
        lab.server.compact()
    outcome = future.result(10)
    assert (outcome.state, outcome.reason) == (JobState.FAILED, "JobDeleted")
    held.go.set()


def test_a_watch_that_ends_in_time_is_opened_where_it_was(lab: Lab) -> None:
    held = Held()
    lab.server.script = held
    runner = lab.runner(replace(FAST, watch=1.0))
    future, watch, _ = lab.begin(runner=runner)
    watch.wait_for_line("first")
    lab.server.wait_for(lambda: lab.server.count("watch", "pods") > 2)
    held.go.set()
    assert future.result(10).state is JobState.SUCCEEDED
    assert lab.server.count("list", "pods") == 1


def test_bookmarks_move_a_quiet_watch_past_a_compaction(lab: Lab) -> None:
    held = Held()
    lab.server.script = held
    future, watch, _ = lab.begin(runner=lab.runner(replace(FAST, watch=2.0)))
    watch.wait_for_line("first")
    with lab.server.changed:
        for _ in range(50):  # others' changes, which the selector leaves out
            lab.server.put("jobs", {"metadata": {"name": "other"}})
        version = lab.server.version
    lab.server.wait_for(
        lambda: any(
            request.verb == "watch" and int(request.query["resourceVersion"]) >= version
            for request in lab.server.requests
        )
    )
    assert lab.server.count("list", "jobs") == 1
    held.go.set()
    assert future.result(10).state is JobState.SUCCEEDED


def test_a_server_that_is_gone_for_a_while_costs_nothing(lab: Lab) -> None:
    """The pauses grow to ``backoff_most``; 30 s against 30 s there is 1 s against 0.2 s here."""
    held = Held()
    future, watch, _ = lab.begin(held)
    watch.wait_for_line("first")
    lab.server.down()
    watch.wait_for(lambda: any("out of reach" in text for text in notices(watch)))
    held.pods[0].log("while it was gone")
    with pytest.raises(TimeoutError):
        future.result(1)
    lab.server.up()
    held.go.set()
    assert future.result(20).state is JobState.SUCCEEDED
    assert watch.lines == ["first", "while it was gone", "last"]


def test_a_server_that_stays_away_is_an_error_in_the_end(lab: Lab) -> None:
    runner = lab.runner(replace(FAST, give_up=0.5))
    lab.server.down()
    with pytest.raises(RunnerError, match=r"out of reach for 0.5 s.*refused"):
        runner.run(lab.trial_job(), Watch(), StopRequest())
    with pytest.raises(RunnerError, match="out of reach"):
        runner.records()


def test_a_log_that_is_cut_has_every_line_once(lab: Lab) -> None:
    lines = [f"line {number}" for number in range(200)]

    def script(play: JobPlay) -> None:
        (pod,) = play.pods()
        pod.running()
        for number, line in enumerate(lines):
            pod.log(line)
            if number % 50 == 20:
                pod.cut_log()
        pod.exit()
        play.condition("Complete")

    outcome, watch = lab.run(script)
    assert outcome.state is JobState.SUCCEEDED
    assert watch.lines == lines
    assert lab.server.count("get", "pods/log") > 2


def test_equal_lines_within_one_second_are_kept_apart(lab: Lab) -> None:
    lab.server.now = lambda: "2026-01-01T00:00:00.000000000Z"  # type: ignore[method-assign]
    held = Held()
    future, watch, _ = lab.begin(held)
    watch.wait_for_line("first")
    held.pods[0].log("again", "again")
    watch.wait_for(lambda: watch.lines.count("again") == 2)
    held.pods[0].cut_log()
    held.pods[0].log("again")
    held.go.set()
    assert future.result(10).state is JobState.SUCCEEDED
    assert watch.lines == ["first", "again", "again", "again", "last"]


def test_a_log_that_ends_before_its_container_is_followed_on(lab: Lab) -> None:
    held = Held()
    future, watch, _ = lab.begin(held)
    watch.wait_for_line("first")
    log = lab.server.log(held.pods[0].name, "main", 0)
    log.end()  # as when an API server restarts in good order
    lab.server.wait_for(lambda: lab.server.count("get", "pods/log") > 1)
    log.ended = False
    held.go.set()
    assert future.result(10).state is JobState.SUCCEEDED
    assert watch.lines == ["first", "last"]


def test_a_log_that_cannot_be_had_does_not_hold_the_trial(lab: Lab) -> None:
    lab.server.fail(lambda request: request.resource == "pods/log", 500, times=10**6)
    outcome, watch = lab.run(completes(), timing=replace(FAST, log=0.3))
    assert outcome.state is JobState.SUCCEEDED
    assert any("log may be incomplete" in text for text in notices(watch))


def test_no_error_of_the_client_crosses_the_edge(lab: Lab) -> None:
    lab.server.fail(any_request, 400, message="no good")
    with pytest.raises(RunnerError, match="no good") as caught:
        lab.runner().run(lab.trial_job(), Watch(), StopRequest())
    assert type(caught.value) is RunnerError
    assert isinstance(caught.value.__cause__, ApiError)


def test_a_runner_that_is_closed_lets_go_of_its_threads(lab: Lab) -> None:
    before = threading.active_count()
    runner = lab.runner()
    lab.server.script = completes()
    runner.run(lab.trial_job(), Watch(), StopRequest())
    runner.close()
    ours = [thread.name for thread in threading.enumerate() if thread.name in ("watch", "log")]
    assert not ours and before > 0


def test_a_watch_of_which_nothing_is_heard_is_opened_again(lab: Lab) -> None:
    lab.server.silent_watches = 2  # of the jobs, and of the pods
    quick = replace(FAST, watch=1.0, silence=0.5)
    began = monotonic()
    assert lab.run(completes(), timing=quick)[0].state is JobState.SUCCEEDED
    assert monotonic() - began < 15


def test_by_itself_a_silent_connection_is_noticed_within_a_minute() -> None:
    timing = Timing()
    assert timing.watch < timing.silence < 60


@pytest.mark.parametrize(
    ("limits", "silent"),
    [(Limits(trial=1.0), 1), (Limits(start=1.0), 2)],
    ids=["trial", "start"],
)
def test_a_time_limit_is_judged_by_what_the_server_says_then(
    lab: Lab, limits: Limits, silent: int
) -> None:
    """The watches have not told that the job is over, or that its pods run, for an outage."""
    lab.server.silent_watches = silent
    held = Held()
    held.go.set()
    outcome, watch = lab.run(held, limits, replace(FAST, silence=60.0, stop=0.5))
    assert outcome.state is JobState.SUCCEEDED, outcome
    assert watch.lines == ["first", "last"]


def test_a_trial_that_prints_nothing_for_long_is_no_outage(lab: Lab) -> None:
    held, quick = Held(), replace(FAST, silence=0.5, give_up=1.0)
    future, watch, _ = lab.begin(held, runner=lab.runner(quick))
    lab.server.wait_for(lambda: lab.server.count("get", "pods/log") > 4)
    held.go.set()
    assert future.result(20).state is JobState.SUCCEEDED
    assert watch.lines == ["first", "last"]
