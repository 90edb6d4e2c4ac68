"""Trials of a stopped run end on record, and the same run takes them up again."""

from __future__ import annotations

from katibflow.study.history import Trial, TrialState
from katibflow.study.interruption import interrupted, taken_up_again
from katibflow.study.reasons import TrialReason

RUNNING = Trial(
    3, TrialState.RUNNING, {"x": "1"}, queued="2026-01-31T09:29:59.000+00:00", job="sample-0-3"
).started("2026-01-31T09:30:00.000+00:00")


def test_an_interrupted_trial_has_ended_and_its_time_stands() -> None:
    ended = interrupted(RUNNING, "the pipeline run is over")
    assert (ended.state, ended.reason) == (TrialState.KILLED, TrialReason.INTERRUPTED)
    assert ended.duration is not None and ended.duration > 0


def test_a_later_try_of_the_run_queues_it_again_and_no_other() -> None:
    killed = Trial(4, TrialState.KILLED, {}, reason=TrialReason.KILLED, message="over")
    done = Trial(5, TrialState.COMPLETE, {}, reason=TrialReason.SUCCEEDED)
    again = taken_up_again([interrupted(RUNNING, "over"), killed, done])
    assert again[1:] == (killed, done)
    assert (again[0].state, again[0].start, again[0].end) == (TrialState.RUNNING, None, None)
    assert (again[0].number, again[0].queued) == (3, RUNNING.queued)
