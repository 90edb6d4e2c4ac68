"""Starts ``python -m katibflow`` as a process that has the package imported already."""

from __future__ import annotations

import atexit
import functools
import inspect
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.paths import ROOT

__all__ = ["popen", "run"]


@functools.cache
def _control() -> socket.socket:
    """The way to the server of this process, which ends with it."""
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm.server", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=ROOT,  # a test may have changed the folder
        )
    atexit.register(server.wait)
    atexit.register(ours.close)
    return ours


class _Process(subprocess.Popen[str]):
    """A process whose parent is the server: that one waits for it and tells its status."""

    _answer: socket.socket

    def _execute_child(self, *given: Any) -> None:
        known = inspect.signature(super()._execute_child).bind(*given).arguments  # type: ignore[misc]
        ours, theirs = socket.socketpair()
        ends = [known["p2cread"], known["c2pwrite"], known["errwrite"]]
        with theirs:
            fds = [number if end == -1 else end for number, end in enumerate(ends)]
            socket.send_fds(_control(), [b"x"], [theirs.fileno(), *fds])
        for fd in {*ends} - {-1}:
            os.close(fd)
        request = {
            "words": known["args"],
            "cwd": os.fspath(known["cwd"] or Path.cwd()),
            "env": dict(os.environ if known["env"] is None else known["env"]),
        }
        ours.sendall(json.dumps(request).encode() + b"\n")
        self._answer = ours
        self.pid = self._told()

    def _told(self) -> int:
        line = b""
        while not line.endswith(b"\n"):
            read = self._answer.recv(1)
            assert read, "the server of warm processes has ended"
            line += read
        return int(line)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._answer], [], [], 0)[0]:
            return 0, 0
        status = self._told()
        self._answer.close()
        return self.pid, status

    def _internal_poll(self, *_given: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):  # type: ignore[attr-defined]
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid:
                        self._handle_exitstatus(status)  # type: ignore[attr-defined]
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode


def popen(
    *words: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """Starts the command line with these words; like `subprocess.Popen` with text in pipes."""
    given = [os.fspath(word) for word in words]
    return _Process(given, cwd=cwd, env=env, stdout=stdout, stderr=stderr, text=True)


def run(
    *words: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Runs the command line with these words to its end, within `timeout` seconds."""
    with popen(*words, cwd=cwd, env=env) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
