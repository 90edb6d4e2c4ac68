"""What is on record of a run that goes on, and of one that a start leaves as it ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from katibflow.report.cards import summary_html
from katibflow.runs.beginning import as_it_ended
from katibflow.runs.folder import RunFolder
from katibflow.runs.running import ending_on_record
from katibflow.study.ending import Ending
from katibflow.study.history import History, Observation, Trial, TrialState
from tests.samples import experiment

NOW = datetime(2026, 1, 1, tzinfo=UTC)
START, END = "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:10+00:00"


def run(ended: int, running: int = 0, changes: Mapping[str, Any] | None = None) -> History:
    """A run with trials that took ten seconds each, and others that run."""
    seen = {"loss": Observation(0.5, 0.5, 0.5)}
    states = [TrialState.COMPLETE] * ended + [TrialState.RUNNING] * running
    trials = tuple(
        Trial(number, state, {"lr": "0.2"}, seen, start=START, end=END if number < ended else None)
        for number, state in enumerate(states)
    )
    return History(experiment({"spec.maxTrialCount": 10, **(changes or {})}), "0a1b2c3d", 1, trials)


def test_a_run_that_goes_on_says_how_far_it_is_and_has_not_succeeded() -> None:
    one_by_one = {"spec.parallelTrialCount": 1}
    assert ending_on_record(run(8, 1, one_by_one), True) == Ending(
        None, "Running", "8 of 10 trials ended, 1 running, about 20 s left"
    )
    # Its program still writes the report.
    assert ending_on_record(run(10), True) == Ending(
        None, "Running", "10 of 10 trials ended, 0 running"
    )
    assert ending_on_record(run(10), False).succeeded
    assert "1 trial was under way" in ending_on_record(run(8, 1), False).message


def test_a_lower_limit_leaves_a_run_that_is_over_as_it_ended(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    before = run(10)
    folder.save(before)
    os.utime(folder.study, (1, 1))
    lower = {"spec.maxTrialCount": 8}
    history, _ = folder.begin("f.yaml", experiment(lower))
    ended = as_it_ended(history, folder.found)
    assert ended == before
    with folder.log(ended) as log:
        log.end(ended)
    assert folder.study.stat().st_mtime == 1  # `list` shows the newest first
    assert as_it_ended(run(10, changes={"spec.maxTrialCount": 12}), before) is None
    # A run that is not over ends by the lower limit, and that is on record.
    assert as_it_ended(run(9, changes=lower), run(9)) is None


def test_more_trials_than_the_limit_are_counted_alone() -> None:
    lowered = run(9, changes={"spec.maxTrialCount": 8})
    ending = ending_on_record(lowered, False)
    assert ending.message == "9 trials ended, maxTrialCount is 8"
    assert "<h2>Trials: 9</h2>" in summary_html(lowered, ending, {}, NOW)
    assert "<h2>Trials: 9 of at most 10</h2>" in summary_html(run(9), ending, {}, NOW)
