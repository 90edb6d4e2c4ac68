"""Serves Optuna's dashboard: of a storage, or of a run's history, which it follows while it grows.

Import it early: Optuna and its dashboard are imported when one is served.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from inotify_simple import INotify, flags  # type: ignore[import-untyped]

from katibflow.errors import InputError, KatibflowError, RunnerError
from katibflow.extras import missing
from katibflow.runs.folder import RunFolder
from katibflow.runs.running import read_history
from katibflow.storage.sync import StudyCopy
from katibflow.study.history import History

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["HistoryOnDisk", "HistorySource", "follow", "server"]

_CHANGES = flags.CREATE | flags.MOVED_TO | flags.CLOSE_WRITE
_TOGETHER_MS = 100
"""Changes this close to each other are read at once."""


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

    Args:
        path: Of either.

    Raises:
        InputError: There is none.
        RunnerError: The system does not let it be watched.
    """

    def __init__(self, path: Path) -> None:
        self._told: set[str] = set()
        read_history(path, self._tell)
        self._path = path.resolve()
        self._watched: dict[Path, int] = {}
        try:
            self._changes = INotify()
            self._cover()
        except OSError as error:
            raise RunnerError(
                f"{path}: cannot be watched: {error.strerror}; a larger "
                "fs.inotify.max_user_watches or max_user_instances (sysctl) may help"
            ) from error

    def read(self) -> History:
        """The history as it stands; see `HistorySource`."""
        return read_history(self._path, self._tell)

    def _tell(self, fault: str) -> None:
        if fault not in self._told:
            self._told.add(fault)
            print(fault, file=sys.stderr, flush=True)

    def wait(self) -> None:
        """Waits until a file of the run was written."""
        while not any(
            self._matters(event) for event in self._changes.read(read_delay=_TOGETHER_MS)
        ):
            pass
        self._cover()

    def _cover(self) -> None:
        for folder in self._folders():
            if folder not in self._watched and folder.is_dir():
                self._watched[folder] = self._changes.add_watch(folder, _CHANGES)

    def _folders(self) -> Iterable[Path]:
        if not self._path.is_dir():
            return [self._path.parent]
        return [self._path, *RunFolder(self._path).record_folders()]

    def _matters(self, event: Any) -> bool:
        return self._path.is_dir() or event.name == self._path.name


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
        copy.bring(first, trial)

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
                    copy.bring(history, trial)
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
