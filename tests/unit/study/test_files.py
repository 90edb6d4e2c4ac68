"""Files that are written whole or not at all, and are on disk where that was asked for."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import pytest

from katibflow.errors import InputError
from katibflow.study.files import make_folder, write_atomically, write_file
from tests.paths import ROOT


class Disk:
    """Notes in which order files are synced and replaced."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        sync, replace = os.fsync, Path.replace

        def noted_sync(descriptor: int) -> None:
            kind = "folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file"
            self.done.append(f"sync {kind}")
            sync(descriptor)

        def noted_replace(source: Path, target: Path) -> Path:
            self.done.append(f"replace {target.name}")
            return replace(source, target)

        patch.setattr(os, "fsync", noted_sync)
        patch.setattr(Path, "replace", noted_replace)


@pytest.mark.parametrize("content", ["old and new \N{INFINITY}", b"\0\xff" * 100_000, ""])
def test_a_file_is_replaced_as_a_whole(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / f"{'n' * 240}.json"
    path.write_text("before")
    write_atomically(path, content)
    written = path.read_bytes()
    assert written == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


def test_a_durable_file_is_on_disk_before_its_name_and_its_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    write_atomically(tmp_path / "a", "x")
    assert disk.done == ["replace a"]
    disk.done.clear()
    write_atomically(tmp_path / "a", "y", durable=True)
    assert disk.done == ["sync file", "replace a", "sync folder"]


def test_a_draft_that_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "other"
    draft = tmp_path / f".a.{os.getpid()}.{threading.get_native_id()}.tmp"
    other.write_text("somebody's")
    draft.write_text("half")
    write_atomically(path, "first")
    draft.symlink_to(other)
    write_atomically(path, "second")
    assert path.read_text() == "second"
    assert other.read_text() == "somebody's"
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new", durable=True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_on_disk_with_those_above_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert disk.done == ["sync folder"] * 2
    make_folder(tmp_path / "a" / "b")
    assert disk.done == ["sync folder"] * 2


def test_a_file_that_the_user_named_may_be_a_device_and_may_be_refused(tmp_path: Path) -> None:
    write_file(Path("/dev/null"), "text")
    assert not Path("/dev/null").is_file()
    with pytest.raises(InputError, match=r"none/a: cannot be written: No such file"):
        write_file(tmp_path / "none" / "a", "text")


def test_files_are_made_durable_and_replaced_in_one_module() -> None:
    ways = re.compile(
        r"\bfsync\b|\bos\.(replace|rename)\b|NamedTemporaryFile|mkstemp|draft\.replace"
    )
    folders = (ROOT / "katibflow", ROOT / "components")
    files = [file for folder in folders for file in folder.rglob("*.py")]
    assert len(files) > 100
    found = {str(f.relative_to(ROOT)) for f in files if ways.search(f.read_text("utf-8"))}
    # The other one watches what a tuned function's program does.
    assert found == {"katibflow/study/files.py", "katibflow/experiment/bootstrap.py"}
