"""Tests the lock of a run's folder."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from katibflow.errors import RunBusy
from katibflow.runners.local.lock import LockWait, RunLock, held, is_held


def test_a_lock_is_held_while_the_block_runs(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert not is_held(path)
    with held(path):
        assert is_held(path)
        assert is_held(path)
    assert path.exists()
    assert not is_held(path)


def test_a_process_that_inherited_the_descriptor_holds_the_lock_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with held(path) as descriptor:
        process = subprocess.Popen(["sleep", "60"], stdin=descriptor)
    assert is_held(path)
    freed = threading.Event()
    wait = LockWait(path)
    path.unlink()

    def wait_and_tell() -> None:
        wait()
        freed.set()

    threading.Thread(target=wait_and_tell, daemon=True).start()
    assert not freed.wait(0.05)
    process.kill()
    process.wait()
    assert freed.wait(30)


def test_there_is_no_wait_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LockWait(tmp_path / "none")


def test_a_busy_run_names_no_process_that_has_nothing_to_do_with_it(tmp_path: Path) -> None:
    with held(tmp_path / "lock") as descriptor:
        os.write(descriptor, b"1\n")  # a process that has not opened the file
        with pytest.raises(RunBusy, match="in use by process unknown"), RunLock(tmp_path):
            pass
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        with pytest.raises(RunBusy, match=f"in use by process {os.getpid()}"), RunLock(tmp_path):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_run_of_another_user_names_no_process_and_no_command_that_would_fail(
    tmp_path: Path,
) -> None:
    lock = tmp_path / "lock"
    lock.touch(mode=0o600)
    os.chown(lock, 65534, 65534)
    with held(lock) as descriptor:
        process = subprocess.Popen(["sleep", "60"], stdin=descriptor, user=65534, group=65534)
        os.write(descriptor, f"{process.pid}\n".encode())
    try:
        with pytest.raises(RunBusy) as caught, RunLock(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()
    assert str(caught.value) == f"{tmp_path}: in use by another user's process; wait for its end"
    assert lock.read_text() == f"{process.pid}\n"
