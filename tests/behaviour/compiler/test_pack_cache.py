"""A pack is kept in the user's cache, and a cache that is of no use costs nothing but time."""

from __future__ import annotations

import bz2
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from katibflow.compiler import library
from katibflow.compiler.library import Pack, pack_library
from katibflow.compiler.pack_cache import keep_pack, kept_pack, pack_key


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache's folder of packs; packs in memory are forgotten."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pack_library.cache_clear()
    yield tmp_path / "cache" / "katibflow" / "packs"
    pack_library.cache_clear()


def _again() -> Pack:
    pack_library.cache_clear()
    return pack_library()


def test_a_kept_pack_is_the_pack_and_nothing_is_read_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack_library()
    (kept,) = folder.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(library, "carried_files", lambda *_: pytest.fail("was made anew"))
    assert _again() == first


@pytest.mark.parametrize(
    "damaged",
    [
        lambda whole: b"",
        lambda whole: b"no pack",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole + b"more",
        lambda whole: whole.partition(b"\n")[0] + b"\n" + bz2.compress(bytes(10**8)),
    ],
    ids=["empty", "another", "half", "longer", "bomb"],
)
def test_a_kept_pack_that_is_not_as_it_was_kept_is_made_anew(
    folder: Path, damaged: Callable[[bytes], bytes]
) -> None:
    first = pack_library()
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(damaged(whole))
    assert _again() == first
    assert kept.read_bytes() == whole


def test_a_pack_that_others_may_write_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "0" * 32
    keep_pack(key, b"packed")
    assert kept_pack(key) == b"packed"
    (folder / key).chmod(0o620)
    assert kept_pack(key) is None
    (folder / key).chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert kept_pack(key) is None


@pytest.mark.parametrize("relative", ["cache", "./cache", "~/cache", ""])
def test_a_relative_cache_is_not_used(
    relative: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", relative)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    keep_pack("0" * 32, b"packed")
    assert not list((tmp_path / "here").iterdir())
    assert [each.name for each in (home / ".cache" / "katibflow" / "packs").iterdir()] == ["0" * 32]
    monkeypatch.setenv("HOME", "home")
    keep_pack("1" * 32, b"packed")
    assert kept_pack("1" * 32) is None
    assert not list((tmp_path / "here").iterdir())


def test_a_link_or_a_pipe_in_its_place_is_not_followed(folder: Path, tmp_path: Path) -> None:
    first = pack_library()
    (kept,) = folder.iterdir()
    other = tmp_path / "other"
    other.write_bytes(bz2.compress(b"somebody's"))
    kept.unlink()
    kept.symlink_to(other)
    assert _again() == first
    kept.unlink()
    os.mkfifo(kept)
    assert _again() == first
    assert other.read_bytes() == bz2.compress(b"somebody's")


def test_a_cache_that_cannot_be_written_is_no_fault(folder: Path) -> None:
    folder.parent.parent.parent.mkdir(exist_ok=True)
    folder.parent.parent.write_text("a file where the cache should be")
    assert pack_library().text


def test_a_changed_file_another_module_or_name_has_a_pack_of_its_own(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    file = package / "a.py"
    file.write_text("x = 1")
    keys = {pack_key(package, {".py"}, ())}
    keys.add(pack_key(package, {".py"}, ("more",)))
    file.write_text("x = 2")
    keys.add(pack_key(package, {".py"}, ()))
    file.rename(package / "b.py")
    last = pack_key(package, {".py"}, ())
    keys.add(last)
    assert len(keys) == 4
    (package / "notes.txt").write_text("not packed")
    assert pack_key(package, {".py"}, ()) == last


def test_the_newest_stay(folder: Path) -> None:
    for age in range(12):
        keep_pack(f"pack{age}", b"%d" % age)
        os.utime(folder / f"pack{age}", (age, age))
    assert kept_pack("pack11") == b"11"
    assert len(list(folder.iterdir())) == 8
    assert kept_pack("pack0") is None
