"""Tests how the files of a run are written and read: for their user alone, and through no link."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from katibflow.errors import HistoryError, RunnerError
from katibflow.runners.events import LogLine
from katibflow.runners.local.lock import RunLock
from katibflow.runners.local.state_files import read_state
from katibflow.runners.local.trial_folder import TrialFolder
from katibflow.runners.log_copies import copied
from katibflow.runs.folder import RunFolder, read_history_file
from katibflow.study.files import make_folder, open_regular, read_regular, write_atomically
from katibflow.study.history import History, Trial, TrialState
from tests.samples import experiment


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_files_of_a_run_are_its_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "x"
    make_folder(folder)
    write_atomically(folder / "study.jsonl", "x")
    trial = TrialFolder(folder / "trials" / "0000", 0)
    with RunLock(folder), trial.locked():
        trial.write_record(Trial(0, TrialState.RUNNING, {}))
        trial.new_attempt("x", {"kind": "Job"}, 1)
    found = list((tmp_path / "runs").rglob("*"))
    assert {mode(path) for path in found if path.is_dir()} == {0o700}
    assert {mode(path) for path in found if path.is_file()} == {0o600}
    assert len(found) == 10


def test_a_file_that_is_there_is_replaced_and_is_private_then(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o644)
    write_atomically(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: open_regular(path, os.O_RDWR | os.O_CREAT),
        lambda path: RunLock(path.parent).__enter__(),
        lambda path: write_atomically(path, "mine"),
        lambda path: copied({LogLine: path}, lambda event: None).__enter__(),
    ],
)
def test_a_link_in_the_place_of_a_file_leads_nowhere(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    target = tmp_path / "target"
    target.write_text("another's")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "lock").symlink_to(target)
    try:
        write(folder / "lock")
    except Exception as error:
        assert str(folder / "lock") in str(error)
    assert target.read_text() == "another's"


def test_a_pipe_in_the_place_of_a_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "study.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="is no regular file"):
        read_regular(pipe)
    with pytest.raises(HistoryError, match=r"study\.jsonl: cannot be read: is no regular file"):
        read_history_file(pipe)
    assert read_state(pipe, 1) == {}


def test_a_link_or_a_folder_in_the_place_of_a_record_is_said_to_be_that(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path / "0003", 3)
    record = folder.path / "record.json"
    folder.path.mkdir()
    record.mkdir()
    with pytest.raises(
        RunnerError, match=r"record\.json: cannot be read: is no regular file; delete"
    ):
        folder.read_record()
    record.rmdir()
    record.symlink_to("/dev/null")
    with pytest.raises(RunnerError, match=r"json: cannot be read: is a symbolic link; delete"):
        folder.read_record()


def test_the_folder_of_runs_and_a_run_s_may_be_links_of_the_user_s(tmp_path: Path) -> None:
    """As to another disk: what stands in them is what no link is followed in."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "runs").symlink_to(elsewhere)
    folder = RunFolder(tmp_path / "runs" / "sample")
    study = History(experiment(), "0a1b2c3d", 1)
    folder.save(study)
    with RunLock(folder.path):
        assert (elsewhere / "sample" / "lock").is_file()
    assert read_history_file(elsewhere / "sample" / "study.jsonl") == study
    (tmp_path / "linked").symlink_to(elsewhere / "sample")
    assert RunFolder(tmp_path / "linked").begun(lambda text: None) == study


def test_bytes_that_are_no_utf8_and_depth_hide_nothing_else(tmp_path: Path) -> None:
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    assert read_state(deep, 1) == {}
