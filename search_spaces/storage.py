"""The database behind a sweep, opened for many small writes by one driver.

SQLite in WAL mode with synchronous=FULL: what is committed is on the disk (0.2 ms on an SSD), and not even a power
failure takes it. This database and the spool would each lose other moments: one would know an end of which the other
has no records.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from trainers.errors import SearchError

optuna.logging.set_verbosity(optuna.logging.WARNING)
_SQLITE = "sqlite:///"
_CONNECT_SECONDS = 10
_HELD = """
SELECT EXISTS (
    SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE datname = current_database() AND locktype = 'advisory' AND objsubid = 1
      AND classid::bigint = :high AND objid::bigint = :low
)
"""


class _Connection(sqlite3.Connection):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=FULL")


def exists(url: str) -> bool:
    """Whether there is something to open; always true of a server, which only an attempt can tell."""
    return not url.startswith(_SQLITE) or os.path.lexists(url.removeprefix(_SQLITE))


def open_storage(url: str) -> tuple[RDBStorage, BaseStorage]:
    """The storage, and Optuna's cache in front of it; raises SearchError."""
    url = _with_driver(url)
    escaped = url.replace("{", "{{").replace("}", "}}")  # Optuna fills in a template
    try:
        # Two that make the tables at the same moment get into each other's way.
        with _alone_in_folder(url) if url.startswith(_SQLITE) else _advisory_lock(url, "tables", wait=True):
            storage = RDBStorage(escaped, engine_kwargs={"connect_args": _connecting(url)})
    except (SQLAlchemyError, ImportError, RuntimeError, sqlite3.Error, OSError) as error:
        raise SearchError(f"can't open {_shown(url)}: {_cause(error)}") from None
    return storage, get_storage(storage)


@contextmanager
def alone(url: str, name: str) -> Iterator[Callable[[], None]]:
    """No other driver of this sweep, on whatever machine, is in this block. Raises SearchError.

    PostgreSQL keeps the lock, and gives it back with the connection: what the block is given takes it again where the
    server was restarted; it raises SearchError where another driver was faster, SQLAlchemyError where the server is
    still away. A SQLite file has one machine, and that has a lock file for it: here nothing is done.
    """
    url = _with_driver(url)
    with ExitStack() as held:
        locks: list[_Lock] = []

        def take() -> None:
            if locks and locks[-1].alive():
                return
            locks.append(held.enter_context(_advisory_lock(url, f"driver of {name}", wait=False)))
            if not locks[-1].mine:
                raise SearchError(f"the sweep {name!r} has a driver already, perhaps on another machine")

        try:
            take()
        except SQLAlchemyError as error:
            raise SearchError(f"can't open {_shown(url)}: {_cause(error)}") from None
        yield take


def has_driver(url: str, name: str) -> bool:
    """Whether someone is in `alone`; always false of SQLite. Nobody is disturbed. Raises SearchError."""
    url = _with_driver(url)
    if not url.startswith("postgresql"):
        return False
    key = _key(f"driver of {name}") % 2**64  # which pg_locks shows as its two halves
    halves = {"high": key >> 32, "low": key & 0xFFFFFFFF}
    try:
        with _engine(url).connect() as connection:
            return bool(connection.execute(sqlalchemy.text(_HELD), halves).scalar_one())
    except SQLAlchemyError as error:
        raise SearchError(f"can't open {_shown(url)}: {_cause(error)}") from None


def _with_driver(url: str) -> str:
    for short in ("postgres://", "postgresql://"):  # the driver that we install
        if url.startswith(short):
            return "postgresql+psycopg://" + url.removeprefix(short)
    return url


def _connecting(url: str) -> dict[str, Any]:
    if url.startswith("sqlite:"):
        return {"factory": _Connection, "timeout": 60}
    return {"connect_timeout": _CONNECT_SECONDS}


@dataclass(frozen=True)
class _Lock:
    """Whether a lock was to be had, and the connection on which it hangs."""

    mine: bool
    connection: sqlalchemy.Connection | None = None

    def alive(self) -> bool:
        """Whether the connection is still there."""
        try:
            return self.connection is None or self.connection.execute(sqlalchemy.text("SELECT true")).scalar_one()
        except SQLAlchemyError:
            return False


@contextmanager
def _alone_in_folder(url: str) -> Iterator[None]:
    """No other process or thread is in this block for a SQLite file of the same folder."""
    descriptor = os.open(os.path.dirname(url.removeprefix(_SQLITE)) or ".", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _advisory_lock(url: str, what: str, wait: bool) -> Iterator[_Lock]:
    """A lock that lives as long as this block's own connection to PostgreSQL."""
    if not url.startswith("postgresql"):
        yield _Lock(True)
        return
    take = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
    with _engine(url).connect() as connection:
        taken = connection.execute(sqlalchemy.text(f"SELECT {take}(:key)"), {"key": _key(what)}).scalar()
        yield _Lock(taken is not False, connection)


def _key(what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"gradsweep: {what}".encode()).digest()[:8], signed=True)


def _engine(url: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT", connect_args=_connecting(url)
    )


def _cause(error: BaseException) -> str:
    return " ".join(str(getattr(error, "orig", None) or error.__cause__ or error).split())


def close_storage(storage: RDBStorage) -> None:
    """Gives the connections back."""
    storage.remove_session()
    storage.engine.dispose()


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the database"
