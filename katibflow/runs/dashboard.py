"""Serves Optuna's dashboard: of a storage, or of a run's history, which it follows while it grows.

Import it early: Optuna and its dashboard are imported when one is served.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from katibflow.errors import InputError, KatibflowError, RunnerError
from katibflow.extras import missing
from katibflow.runs.folder import RunFolder
from katibflow.runs.running import read_history
from katibflow.storage.sync import StudyCopy
from katibflow.study.history import History

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["HistoryOnDisk", "HistorySource", "follow", "server"]

_PERIOD = 0.5
"""Seconds between two looks at the files; the page itself asks every 2 s at most."""

_SETTLED = 1.0
"""Seconds after which no other change can have the same time of change."""


class HistorySource(Protocol):
    """A history that may grow."""

    def read(self) -> History:
        """The history as it stands.

        Raises:
            InputError: There is none.
            KatibflowError: It cannot be read.
        """

    def wait(self) -> None:
        """Waits for a change since the last call of this, or since the source was made."""


class HistoryOnDisk:
    """The history of a run's folder, or of a history file.

    Its files are looked at, not watched: to watch all that trials may write below the run's folder
    costs more than a look at the folders of records, which change with every record.

    Args:
        path: Of either.

    Raises:
        InputError: There is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._warned: set[str] = set()
        self._seen, self._is_settled = self._look()
        read_history(path, self._warn_once)

    def read(self) -> History:
        """The history as it stands; see `HistorySource`."""
        return read_history(self._path, self._warn_once)

    def _warn_once(self, fault: str) -> None:
        if fault not in self._warned:
            self._warned.add(fault)
            print(fault, file=sys.stderr, flush=True)

    def wait(self) -> None:
        """Waits until a file of the run was written."""
        while True:
            time.sleep(_PERIOD)
            before, was_settled = self._seen, self._is_settled
            self._seen, self._is_settled = self._look()
            # What changed twice at a time has one time of change.
            if self._seen != before or not was_settled:
                return

    def _look(self) -> tuple[Mapping[Path, tuple[int, int, int]], bool]:
        """Returns the state of what changes with the history, and whether it has settled."""
        seen: dict[Path, tuple[int, int, int]] = {}
        for path in self._changing():
            with suppress(OSError):
                stat = path.stat()
                seen[path] = stat.st_mtime_ns, stat.st_ino, stat.st_size
        now = time.time()
        return seen, all(abs(now - state[0] / 1e9) > _SETTLED for state in seen.values())

    def _changing(self) -> Iterable[Path]:
        if not self._path.is_dir():
            return [self._path]
        folder = RunFolder(self._path)
        return [folder.study, *folder.record_folders()]


def follow(source: HistorySource, warn: Callable[[str], None]) -> tuple[BaseStorage, int]:
    """A storage in memory with the study of a history, which it follows in a thread from then on.

    Args:
        source: The history.
        warn: Told what a person should know, from that thread.

    Returns:
        The storage and the study's id.

    Raises:
        KatibflowError: The history cannot be read.
    """
    from optuna.storages import InMemoryStorage

    storage = InMemoryStorage()
    first = source.read()
    copy = StudyCopy(storage, first.experiment.name, first.experiment)
    study = copy.open()
    for trial in first.trials:
        copy.update_trial(first, trial)

    def go_on() -> None:
        while True:
            source.wait()
            try:
                history = source.read()
                if history.run != first.run:
                    raise RunnerError(
                        f"{first.experiment.name}: another run is there now; start the dashboard "
                        "again to see it"
                    )
                for trial in history.trials:
                    copy.update_trial(history, trial)
            except KatibflowError as error:  # the next change may heal it
                warn(str(error))
            except KeyError:
                warn(f"{first.experiment.name}: the study was deleted in the dashboard")
                return

    threading.Thread(target=go_on, name="follow", daemon=True).start()
    return storage, study


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are nothing to tell of."""


@contextmanager
def server(storage: BaseStorage, host: str, port: int) -> Iterator[WSGIServer]:
    """A server of the dashboard, bound and not serving yet; its ``server_port`` says where.

    Args:
        storage: What it shows.
        host: The name or address to listen on.
        port: 0 takes a free one.

    Raises:
        InputError: It cannot listen there.
        MissingPackage: The dashboard is not installed.
    """
    try:
        from optuna_dashboard import wsgi  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise missing("optuna_dashboard", "katibflow dashboard") from error
    app = wsgi(storage)
    try:
        made = make_server(host, port, app, server_class=_Server, handler_class=_Handler)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--host {host} --port {port}: cannot listen there: {error}; --port 0 takes a free one"
        ) from error
    with made:
        yield made
