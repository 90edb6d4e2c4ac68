"""A run's history file grows with the run: it is appended to, and a start finds what is there."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from katibflow.engine.events import TrialEnded
from katibflow.errors import RunnerError
from katibflow.runners.folder_records import FolderRecords
from katibflow.runs.folder import RunFolder, with_records
from katibflow.runs.running import read_run
from katibflow.study.history import History, Kept, Trial, TrialState
from tests.searching import experiment


def done(number: int) -> Trial:
    return Trial(number, TrialState.COMPLETE, {"lr": "0.1"}, job=f"sample-1-{number}")


def running(number: int) -> Trial:
    return replace(done(number), state=TrialState.RUNNING)


def begun(path: Path) -> tuple[RunFolder, History]:
    folder = RunFolder(path)
    history, _ = folder.begin("f.yaml", experiment("random"))
    return folder, history


def numbers(folder: RunFolder) -> list[int]:
    return [trial.number for trial in RunFolder(folder.path).begun(print).trials]


def lines(folder: RunFolder) -> list[str]:
    return folder.study.read_text().splitlines()


def test_trials_are_appended_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder, history = begun(tmp_path)
    with folder.log(history) as log:
        file = os.stat(folder.study).st_ino
        seen = []
        for number in (1, 0, 3, 2):
            log(TrialEnded(done(number), {}))
            seen.append(len(lines(folder)) - 1)
        assert seen == [0, 2, 2, 4]
        ended = history.with_trials([*map(done, range(4)), running(4)])
        log.end(ended)
    assert os.stat(folder.study).st_ino == file
    assert read_run(folder.study).history == ended


def test_the_next_start_goes_on_behind_a_line_that_a_kill_has_torn(tmp_path: Path) -> None:
    folder, history = begun(tmp_path)
    with folder.log(history) as log:
        log(TrialEnded(done(0), {}))
    file = os.stat(folder.study).st_ino
    with folder.study.open("a") as torn:
        torn.write('{"number":1,"sta')
    (tmp_path / "trials").mkdir()
    assert numbers(folder) == [0]
    folder, history = begun(tmp_path)
    history = with_records(history, [done(1), running(2)])  # the record of 1 came before its line
    with folder.log(history) as log:
        assert numbers(folder) == [0, 1]
        log(TrialEnded(done(3), {}))
        log(TrialEnded(done(2), {}))
    assert os.stat(folder.study).st_ino == file
    assert [line[:11] for line in lines(folder)[1:]] == [f'{{"number":{n}' for n in range(4)]


def test_a_changed_header_and_trials_out_of_order_are_written_anew(tmp_path: Path) -> None:
    folder, history = begun(tmp_path)
    with folder.log(history) as log:
        log.end(history.with_trials([done(0), running(1), done(2)]))
    folder, history = begun(tmp_path)
    history = replace(history, kept=(Kept((0,), ("more",)),)).with_trials([running(1)])
    with folder.log(history) as log:
        assert numbers(folder) == [0, 2]
        log(TrialEnded(done(1), {}))
        assert sorted(numbers(folder)) == [0, 1, 2]
        log.end(history.with_trials([done(1)]))
    assert [line[:11] for line in lines(folder)[1:]] == [f'{{"number":{n}' for n in range(3)]
    assert RunFolder(tmp_path).begun(print).kept == history.kept


def test_records_that_the_history_has_are_read_only_if_they_have_changed(tmp_path: Path) -> None:
    folder, history = begun(tmp_path)
    folder.save(history.with_trials(map(done, range(3))))
    records = FolderRecords(tmp_path)
    for number in range(4):
        records.put(done(number))
    for number in (0, 1):
        path = tmp_path / "trials" / f"000{number}" / "record.json"
        path.write_text("x")
        os.utime(path, ns=(0, os.stat(folder.study).st_mtime_ns - 1 + 2 * number))
    told: list[str] = []
    assert [t.number for t in read_run(tmp_path, told.append).history.trials] == [0, 1, 2, 3]
    assert len(told) == 1 and "0001/record.json" in told[0]
    with pytest.raises(RunnerError, match=r"0001/record\.json"):
        FolderRecords(tmp_path, RunFolder(tmp_path).begun(print)).all()
