"""A pack is kept in the user's cache, and a cache that is of no use costs nothing but time."""

from __future__ import annotations

import bz2
import os
from collections.abc import Iterator
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


@pytest.mark.parametrize("content", [b"", b"BZh9", b"no pack", None])
def test_a_kept_pack_that_is_not_whole_is_made_anew(folder: Path, content: bytes | None) -> None:
    first = pack_library()
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert _again() == first
    assert kept.read_bytes() == whole


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
        keep_pack(f"pack{age}", bz2.compress(b"%d" % age))
        os.utime(folder / f"pack{age}", (age, age))
    assert kept_pack("pack11") == bz2.compress(b"11")
    assert len(list(folder.iterdir())) == 8
    assert kept_pack("pack0") is None
