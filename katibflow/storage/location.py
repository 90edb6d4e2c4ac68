"""Opens the Optuna storage that a user names: a database by its URL, or a journal by its file.

Studies are not written here but in `storage.sync`. To import this module costs little: Optuna is
imported when a storage is opened.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from katibflow.errors import InputError, MissingPackage

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["Storage", "close"]

_OPENING_SECONDS = 60.0
"""This is above 30 s, after which Optuna takes a journal's lock from a process that is gone."""

_REASON_LENGTH = 300
_TRIES = 20
_PASSWORD = re.compile(r"(?P<before>://[^:/?#]*:)(?P<secret>.*)(?P<after>@)", re.DOTALL)
_PASSWORD_OPTION = re.compile(
    r"(?P<before>[?&][^=&]*(?:pass|pwd|secret|token)[^=&]*=)(?P<secret>[^&]+)(?P<after>)",
    re.IGNORECASE,
)
_DRIVERS = {
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "mysql": "mysql-connector-python",
}
"""Maps a Python module to the package that has it, where their names differ."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Storage:
    """A storage as the user names it.

    Attributes:
        text: A URL that SQLAlchemy takes, as ``sqlite:///studies.db`` or
            ``postgresql://user:password@host/database``; or else a file's path, of a journal.
    """

    text: str

    def __repr__(self) -> str:
        return f"Storage({str(self)!r})"

    def __str__(self) -> str:
        """Returns the text without its passwords."""
        shown = self.text
        for pattern in (_PASSWORD, _PASSWORD_OPTION):
            shown = pattern.sub(r"\g<before>***\g<after>", shown)
        return shown

    @property
    def option(self) -> str:
        """The option of the command line that names the storage, without its passwords."""
        return f"--storage {self}"

    def why(self, error: BaseException) -> str:
        """Returns the innermost cause of an error as one line, without the storage's passwords."""
        while error.__cause__ is not None:
            error = error.__cause__
        text = " ".join(str(getattr(error, "orig", None) or error).split())
        for pattern in (_PASSWORD, _PASSWORD_OPTION):
            for match in pattern.finditer(self.text):
                for secret in (match["secret"], unquote(match["secret"])):
                    text = text.replace(secret, "***")
        return text[:_REASON_LENGTH] or type(error).__name__

    def created(self, use: Callable[[BaseStorage], _T]) -> _T:
        """Opens the storage, creates it if it does not exist, and returns what ``use`` makes of it.

        Args:
            use: Takes the open storage. If this fails, the storage is closed.

        Raises:
            InputError: The storage cannot be opened or used, or does not answer within 60 seconds.
            MissingPackage: The driver of the database is not installed.
        """
        return self._opened(self._create, use)

    def existing(self) -> BaseStorage:
        """Opens and returns a storage that exists.

        Raises:
            InputError: The storage does not exist, or one of the causes of `created` holds.
            MissingPackage: The driver of the database is not installed.
        """
        return self._opened(self._find, lambda storage: storage)

    def _opened(self, find: Callable[[], BaseStorage], use: Callable[[BaseStorage], _T]) -> _T:
        def work() -> _T:
            storage = find()
            try:
                return use(storage)
            except BaseException:
                close(storage)
                raise

        try:
            return _within(_OPENING_SECONDS, work)
        except InputError:
            raise
        except TimeoutError as error:
            raise InputError(
                f"{self.option}: does not answer within {_OPENING_SECONDS:g} s"
            ) from error
        except Exception as error:  # each database's driver has errors of its own
            raise self._failure(error) from error

    def _failure(self, error: BaseException) -> InputError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ModuleNotFoundError) and cause.name:
                module = cause.name.partition(".")[0]
                return MissingPackage(_DRIVERS.get(module, module), self.option)
            cause = cause.__cause__
        return InputError(f"{self.option}: cannot be opened: {self.why(error)}")

    def _create(self) -> BaseStorage:
        if "://" not in self.text:
            return self._journal()
        from optuna.storages import RDBStorage
        from sqlalchemy import make_url
        from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

        url = make_url(self.text)
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise InputError(
                f"{self.option}: found a database in memory, which ends with this program; "
                "allowed: a file, as sqlite:///studies.db"
            )
        for _ in range(_TRIES):
            try:
                # The ping hides from the user that the database was restarted in between.
                return RDBStorage(self.text, engine_kwargs={"pool_pre_ping": True})
            except (IntegrityError, OperationalError, ProgrammingError) as error:
                # Another program makes Optuna's tables in a new database at the same moment.
                taken = isinstance(error, IntegrityError) or "already exists" in str(error)
                if not taken:
                    raise
        raise InputError(f"{self.option}: its tables are made by too many programs at a time")

    def _find(self) -> BaseStorage:
        if "://" not in self.text:
            self._check_file(self.text)
            return self._journal()
        from optuna.storages import RDBStorage
        from sqlalchemy import create_engine, inspect, make_url

        url = make_url(self.text)
        if url.get_backend_name() == "sqlite":
            self._check_file(url.database)
        engine = create_engine(url)
        try:
            if not inspect(engine).has_table("studies"):
                raise InputError(f"{self.option}: found no studies of Optuna's")
        finally:
            engine.dispose()
        return RDBStorage(
            self.text,
            engine_kwargs={"pool_pre_ping": True},
            skip_compatibility_check=True,  # the dashboard itself offers to upgrade it
            skip_table_creation=True,
        )

    def _check_file(self, file: str | None) -> None:
        if file is None or not Path(file).is_file():
            raise InputError(f"{self.option}: found no such file")

    def _journal(self) -> BaseStorage:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        path = Path(self.text)
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(1)
            if head not in (b"", b"{"):
                raise InputError(
                    f"{self.option}: found a file that is no journal of Optuna's; allowed: one "
                    "that is, a new file, or a URL, as sqlite:///studies.db for a file of SQLite"
                )
        return JournalStorage(JournalFileBackend(self.text))


def close(storage: BaseStorage) -> None:
    """Closes the connections of a database that nobody uses; a journal has none."""
    from optuna.storages import RDBStorage

    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


def _within(seconds: float, work: Callable[[], _T]) -> _T:
    """Returns what the work returns, or raises TimeoutError and leaves the work's thread alone."""
    done: Future[_T] = Future()

    def go() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # the calling thread raises this again
            done.set_exception(error)

    threading.Thread(target=go, name="storage", daemon=True).start()
    return done.result(seconds)
