"""Serves Optuna's dashboard of a storage, or of a run's history while that grows.

The pages themselves are Optuna's. To import this module costs little: Optuna and its dashboard are
imported when a dashboard is served.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from katibflow.errors import InputError, KatibflowError, RunnerError
from katibflow.extras import missing
from katibflow.printing import say
from katibflow.runs.folder import RunFolder
from katibflow.runs.running import read_history
from katibflow.runs.web_guard import guarded
from katibflow.storage.sync import StudyCopy
from katibflow.study.history import History

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["HistoryOnDisk", "HistorySource", "follow", "server"]

_PERIOD = 0.5
"""Seconds between two looks at the files; the page asks for news every 2 s at most."""

_SETTLED = 1.0
"""Seconds after a change after which a later change must have another timestamp."""


class HistorySource(Protocol):
    """Reads a history that may grow."""

    def read(self) -> History:
        """Returns the history as it is on record now.

        Raises:
            InputError: The history does not exist.
            KatibflowError: The history cannot be read.
        """

    def wait(self) -> None:
        """Waits until the history has changed since the last call, or since the source was made."""


class HistoryOnDisk:
    """Reads the history of a run's folder, or of a history file.

    This looks at the files twice a second and does not watch them: trials may write many files
    below the run's folder, but the folders of records change with every record.

    Args:
        path: The run's folder, or the history file.

    Raises:
        InputError: There is no history at this path.
        HistoryError: The history cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._folder = RunFolder.of(path.resolve())
        self._warned: set[str] = set()
        self._over: Collection[int] = ()
        self._seen, self._is_settled = self._look()
        RunFolder.of(path).check_begun()
        self.read()

    def read(self) -> History:
        """Returns the history as it is on record now; see `HistorySource`."""
        history = read_history(self._folder, self._warn_once)
        self._over = {trial.number for trial in history.trials if trial.state.is_finished}
        return history

    def _warn_once(self, fault: str) -> None:
        if fault not in self._warned:
            self._warned.add(fault)
            say(fault, file=sys.stderr)

    def wait(self) -> None:
        """Waits until a file of the run has changed."""
        while True:
            time.sleep(_PERIOD)
            before, was_settled = self._seen, self._is_settled
            self._seen, self._is_settled = self._look()
            # Two changes at nearly the same time have one timestamp, so look once more.
            # The folders of trials that have ended since are no longer looked at.
            is_same = all(before.get(path) == state for path, state in self._seen.items())
            if not is_same or not was_settled:
                return

    def _look(self) -> tuple[Mapping[Path, tuple[int, int, int]], bool]:
        """Returns the stamps of the files that change with the history, and whether all are old."""
        seen: dict[Path, tuple[int, int, int]] = {}
        for path in self._changing():
            with suppress(OSError):
                stat = path.stat()
                seen[path] = stat.st_mtime_ns, stat.st_ino, stat.st_size
        now = time.time()
        return seen, all(abs(now - state[0] / 1e9) > _SETTLED for state in seen.values())

    def _changing(self) -> Iterable[Path]:
        folder = self._folder
        return [folder.study, *(folder.record_folders(self._over) if folder.has_trials else ())]


def follow(source: HistorySource, warn: Callable[[str], None]) -> tuple[BaseStorage, int]:
    """Makes a study of a history in memory, and a thread that keeps the study up to date.

    Args:
        source: Reads the history.
        warn: Takes each warning for the user, in that thread.

    Returns:
        The storage in memory, and the id of the study.

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
            except KatibflowError as error:  # the next change of the files may heal this
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
        """Writes nothing: users need no line for each request."""


@contextmanager
def server(
    storage: BaseStorage, host: str, port: int, *, writable: bool = False
) -> Iterator[WSGIServer]:
    """Makes the dashboard's server, for the length of a ``with`` block.

    The server is bound to its port and does not serve yet; ``server_port`` is the port it got.

    Args:
        storage: The storage that the dashboard shows.
        host: The name or address to listen on.
        port: The port to listen on; 0 takes a free one.
        writable: Whether the page may change the storage; False by default.

    Raises:
        InputError: The server cannot listen there.
        MissingPackage: Optuna's dashboard is not installed.
    """
    try:
        from optuna_dashboard import wsgi  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise missing("optuna_dashboard", "katibflow dashboard") from error
    app = guarded(wsgi(storage), host, writable=writable)
    try:
        made = make_server(host, port, app, server_class=_Server, handler_class=_Handler)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--host {host} --port {port}: cannot listen there: {error}; --port 0 takes a free one"
        ) from error
    with made:
        yield made
