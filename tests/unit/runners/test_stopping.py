"""Tests requests to stop: the first reason stays, and is passed on unchanged."""

from __future__ import annotations

from katibflow.runners.stopping import StopKind, StopReason, StopRequest


def test_the_first_reason_stays() -> None:
    stop, told = StopRequest(), list[str]()
    stop.subscribe(lambda: told.append("once"))
    assert stop.reason is None
    stop.set("interrupted by signal 15", StopKind.SIGNAL, 15)
    stop.set("too late")
    assert stop.reason == StopReason("interrupted by signal 15", StopKind.SIGNAL, 15)
    assert told == ["once"]


def test_a_reason_is_passed_on_whole_until_the_passing_on_ends() -> None:
    first, then, never = StopRequest(), StopRequest(), StopRequest()
    first.pass_on(then)
    first.pass_on(never)()
    assert then.reason is None
    first.set("worse than the median", StopKind.EARLY_STOPPING)
    assert then.reason == first.reason
    assert never.reason is None
    late = StopRequest()
    first.pass_on(late)
    assert late.reason == first.reason


def test_what_is_left_is_told_by_those_who_still_wait() -> None:
    stop = StopRequest()
    assert stop.left == ""
    forget = stop.leaves(lambda: "job a runs on")
    stop.leaves(lambda: "")
    stop.leaves(lambda: "job b is stopped")
    assert stop.left == "job a runs on\njob b is stopped"
    forget()
    assert stop.left == "job b is stopped"
