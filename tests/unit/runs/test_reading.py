"""Histories with a line that cannot be read: who looks sees the rest, who goes on is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from katibflow.api.result import Result
from katibflow.errors import HistoryError
from katibflow.runs.folder import RunFolder
from katibflow.runs.running import read_history, read_run
from katibflow.study.history import History, Trial, TrialState, dump_history
from tests.samples import experiment


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run that took over three trials, of which the second cannot be read any more."""
    folder = RunFolder(tmp_path / "sample")
    trials = tuple(
        Trial(number, TrialState.COMPLETE, {"lr": "0.1"}, job=f"sample-earlier-{number}")
        for number in range(3)
    )
    folder.save(History(experiment(), "0a1b2c3d", 1, trials))
    lines = folder.study.read_text().splitlines(keepends=True)
    lines[2] = lines[2][:20] + "\n"
    folder.study.write_text("".join(lines))
    return folder


def test_who_looks_at_a_run_sees_the_other_trials_and_is_told(folder: RunFolder) -> None:
    told: list[str] = []
    run = read_run(folder.path, told.append)
    assert [trial.number for trial in run.history.trials] == [0, 2]
    assert read_history(folder.path, told.append) == run.history
    assert read_history(folder.study, told.append) == run.history
    assert [fault.split(": ")[0] for fault in told] == [f"{folder.study}, line 3"] * 3


def test_the_library_tells_it_on_standard_error(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(Result.load(folder.path).trials) == 2
    assert "study.jsonl, line 3: not JSON" in capsys.readouterr().err


def test_a_run_does_not_go_on_without_a_trial_that_it_had(folder: RunFolder) -> None:
    before = folder.study.read_bytes()
    with pytest.raises(HistoryError, match=r"study\.jsonl, line 3: not JSON"):
        folder.begin("f.yaml", experiment())
    assert folder.study.read_bytes() == before


def test_a_run_of_a_newer_release_is_refused_by_all(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    text = dump_history(History(experiment(), "0a1b2c3d", 1))
    folder.study.write_text(text.replace('"version":1', '"version":2'))
    with pytest.raises(HistoryError, match="found version 2; allowed: 1; it was written by"):
        read_run(tmp_path)
    with pytest.raises(HistoryError, match="found version 2; allowed: 1; it was written by"):
        folder.begin("f.yaml", experiment())
