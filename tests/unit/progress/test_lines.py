"""The lines of a run that is not on a terminal: each thing once, and no time left after the end."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Console

from katibflow.engine.events import Decided, TrialEnded, TrialStarted, Update
from katibflow.progress.display import LineProgress, bar
from katibflow.progress.status import Status
from katibflow.study.decision import decide
from katibflow.study.history import Observation, Trial, TrialState
from tests.samples import experiment

ENDED = (datetime.now(UTC) + timedelta(days=1)).isoformat()
"""After the run began, however long the tests before take."""
TWO = experiment({"spec.maxTrialCount": 2})
DONE = [
    Trial(number, TrialState.COMPLETE, {"lr": "0.2"}, {"loss": Observation(1, 1, 1)}, end=ENDED)
    for number in (0, 1)
]


def lines(updates: Sequence[Update], status: Status | None = None) -> list[str]:
    stream = io.StringIO()
    status = status or Status.of(TWO, ())
    begun = datetime.now(UTC) - timedelta(hours=1)
    with LineProgress(status, stream, lambda: datetime(2026, 1, 1, 7), begun) as shown:
        for update in updates:
            shown(update)
    return stream.getvalue().splitlines()


def killed(number: int) -> TrialEnded:
    message = "2 trials ended"
    return TrialEnded(
        Trial(number, TrialState.KILLED, {"lr": "0.2"}, reason="TrialKilled", message=message), {}
    )


def test_the_time_left_stands_before_a_message_of_several_lines() -> None:
    failed = Trial(0, TrialState.FAIL, {}, end=ENDED, reason="R", message="exit code 1\nTraceback")
    assert lines([TrialEnded(failed, {})]) == [
        "07:00:00 trial 0 fail, about 60 min left: R: exit code 1",
        "  Traceback",
    ]


def test_after_the_end_no_time_is_left_and_a_trial_that_never_began_is_not_told() -> None:
    running = Trial(2, TrialState.RUNNING, {"lr": "0.2"})
    ends = [*(TrialEnded(trial, {}) for trial in DONE[:1]), TrialStarted(running, False)]
    decided = Decided(decide(TWO, DONE))
    shown = lines([*ends, decided, killed(2), killed(3)])
    assert "about 60 min left" in shown[0]
    assert shown[2:] == [
        "07:00:00 ExperimentMaxTrialsReached: 2 trials ended, maxTrialCount is 2",
        "07:00:00 trial 2 killed (best loss=1 in trial 0): TrialKilled: 2 trials ended",
    ]


def test_a_run_that_was_over_is_told_by_its_opening_alone_and_has_no_time() -> None:
    opening = ("nothing is run: it is over",)
    status = Status.of(TWO, tuple(DONE), opening, was_over=True)
    assert lines([Decided(decide(TWO, DONE))], status) == [f"07:00:00 {opening[0]}"]
    console = Console(file=io.StringIO(), width=80, record=True)
    now = datetime.now(UTC)
    console.print(*bar(status, now - timedelta(hours=1), now))
    assert console.export_text().rstrip().endswith(" 100%")
