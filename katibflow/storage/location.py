"""Where Optuna keeps studies: a database, by its URL, or a journal, by its file.

Import it early: Optuna itself is imported when a storage is opened.
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
"""More than the 30 s after which Optuna takes the lock of a journal from a process that is gone."""

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
"""Python module to the package that has it, where their names differ."""

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
        """The text without its passwords."""
        shown = self.text
        for pattern in (_PASSWORD, _PASSWORD_OPTION):
            shown = pattern.sub(r"\g<before>***\g<after>", shown)
        return shown

    @property
    def option(self) -> str:
        """The command line's option that names it, without its passwords."""
        return f"--storage {self}"

    def why(self, error: BaseException) -> str:
        """An error's innermost reason as one line, without the passwords."""
        while error.__cause__ is not None:
            error = error.__cause__
        text = " ".join(str(getattr(error, "orig", None) or error).split())
        for pattern in (_PASSWORD, _PASSWORD_OPTION):
            for match in pattern.finditer(self.text):
                for secret in (match["secret"], unquote(match["secret"])):
                    text = text.replace(secret, "***")
        return text[:_REASON_LENGTH] or type(error).__name__

    def created(self, use: Callable[[BaseStorage], _T]) -> _T:
        """Opens the storage, which is made if it is not there, for what ``use`` makes of it.

        Raises:
            InputError: It cannot be opened or used, or does not answer within 60 seconds.
            MissingPackage: The database's driver is not installed.
        """
        return self._opened(self._create, use)

    def existing(self) -> BaseStorage:
        """Opens a storage that is there already; errors as of `created`, or if it is not there."""
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
        except Exception as error:  # whatever the database's driver raises
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
                # A database that was started again in between is nothing to tell of.
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
    """Closes a database's connections that are not in use."""
    from optuna.storages import RDBStorage

    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


def _within(seconds: float, work: Callable[[], _T]) -> _T:
    """What the work returns; TimeoutError when it takes longer, and it is left to itself then."""
    done: Future[_T] = Future()

    def go() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # it is raised again in the calling thread
            done.set_exception(error)

    threading.Thread(target=go, name="storage", daemon=True).start()
    return done.result(seconds)
