"""A PostgreSQL server of its own for a test, from Debian's package."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["PASSWORD", "Postgres", "postgres"]

PASSWORD = "s3cr3t@/ö"
QUOTED = "s3cr3t%40%2F%C3%B6"

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))


class Postgres:
    """A server that can be stopped and started again."""

    def __init__(self, folder: Path, port: int, user: str | None) -> None:
        self._folder = folder
        self._port = port
        self._user = user
        self.url = f"postgresql://katib:{QUOTED}@127.0.0.1:{port}/postgres"
        self.log = folder / "log"

    def call(self, program: str, *words: str | Path) -> None:
        """Runs one of PostgreSQL's programs, which refuse to be run by root."""
        subprocess.run(
            [_PROGRAMS[-1].with_name(program), *words],
            check=True,
            user=self._user,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=180,
        )

    def start(self) -> None:
        """Starts the server; it answers when this returns."""
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c fsync=off -k {self._folder}"
        self.call(
            *("pg_ctl", "-D", self._folder / "data", "-l", self.log),
            *("-o", options, "-w", "start"),
        )

    def stop(self) -> None:
        """Ends the server and all connections to it at once."""
        self.call("pg_ctl", "-D", self._folder / "data", "-m", "immediate", "-w", "stop")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A running server; the test is skipped where PostgreSQL is not installed."""
    if not _PROGRAMS:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="katibflow-postgres-"))
    user = None
    if os.getuid() == 0:
        user = "postgres"
        shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Postgres(folder, port, user)
    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    (folder / "password").chmod(0o644)
    try:
        server.call(
            *("initdb", "-D", folder / "data", "-U", "katib", "-A", "scram-sha-256", "-E", "UTF8"),
            *("--no-sync", "--locale=C.UTF-8", "--pwfile", folder / "password"),
        )
        server.start()
        try:
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder)
