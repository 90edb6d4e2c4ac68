"""Trials that print nothing for long are told, again each time that twice as long has passed."""

from __future__ import annotations

from katibflow.engine.silence import Silences
from katibflow.experiment.timeouts import Limits


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def silences(limits: Limits | None = None) -> tuple[Silences, Clock]:
    clock = Clock()
    return Silences(600, limits or Limits(), clock), clock


def test_a_silent_trial_is_told_with_what_bounds_it() -> None:
    heard, clock = silences()
    assert heard.until_next() is None
    heard.heard(3)
    clock.now = 100
    heard.heard(4)
    assert heard.until_next() == 500
    clock.now = 600
    ((number, text),) = heard.due()
    assert number == 3
    assert text.startswith("no output for 10 min, and nothing bounds it: --trial-timeout SECONDS")
    assert heard.due() == []
    assert heard.until_next() == 100
    clock.now = 1200
    assert [number for number, _ in heard.due()] == [3, 4]


def test_a_trial_with_a_limit_is_told_when_it_ends() -> None:
    heard, clock = silences(Limits(trial=3600))
    heard.heard(0)
    clock.now = 601
    assert heard.due() == [(0, "no output for 10 min; it is ended after 3600 s in all")]


def test_a_trial_that_prints_again_says_so_once() -> None:
    heard, clock = silences()
    assert not heard.heard(0)
    clock.now = 700
    assert heard.due()
    assert heard.heard(0)
    assert not heard.heard(0)
    assert heard.until_next() == 600
    heard.forget(0)
    assert heard.until_next() is None
