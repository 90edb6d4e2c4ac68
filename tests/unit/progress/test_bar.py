"""The bar of a run with the time so far, from the trials and the time alone."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from katibflow.progress.display import bar
from katibflow.progress.status import Status
from katibflow.study.history import Trial, TrialState
from tests.shell_trials import experiment

BEGUN = datetime(2026, 1, 31, 8, tzinfo=UTC)


def status(*ends: int, most: int | None = 6) -> Status:
    """A run with a trial for each end, in seconds after the run's beginning, and one more."""
    trials = [
        Trial(number, TrialState.COMPLETE, {}, end=(BEGUN + timedelta(seconds=end)).isoformat())
        for number, end in enumerate(ends)
    ]
    trials.append(Trial(len(ends), TrialState.RUNNING, {}))
    return Status.of(experiment("true", {"spec.maxTrialCount": most}), tuple(trials))


def drawn(of: Status, seconds: float, since: datetime | None = BEGUN) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80)
    for each in bar(of, since, BEGUN + timedelta(seconds=seconds)):
        console.print(each)
    return out.getvalue().rstrip()


def test_the_bar_grows_with_the_trials_that_have_ended() -> None:
    lengths = [drawn(status(*ends), 90).count("━") for ends in ((), (10,), (10, 20, 30))]
    assert lengths[0] < lengths[1] < lengths[2] <= 40
    assert drawn(status(10, 20, 30), 90).endswith(" 50% 0:01:30 elapsed")
    assert drawn(status(*range(6)), 4000).endswith("100% 1:06:40 elapsed")
    assert drawn(status(10), 90, since=None).endswith(" 16%")


def test_there_is_no_bar_without_a_number_of_trials() -> None:
    assert bar(status(10, most=None), BEGUN, BEGUN) == []
