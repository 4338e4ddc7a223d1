"""Databases, SQLite files and PostgreSQL servers: how long they may take, and what went wrong with one in one line."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from tracking.store import with_driver
from trainers.errors import GradsweepError, StoreError

CONNECT_SECONDS = 10
BUSY_SECONDS = 60  # another connection may hold a SQLite file for that long
SQLITE = "sqlite:///"
# By itself a server keeps the session of a machine that is lost for two hours, with its locks: here it is a minute.
KEEPALIVES = (
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; "
    "SET tcp_user_timeout = '60s'"
)
WRITING = "gradsweep_writing"  # the execution option of a connection that will write


def engine(url: str, **options: Any) -> sa.Engine:
    """An engine; in a SQLite file what is committed survives a power failure. Raises StoreError."""
    with unusable("can't open", url):
        made = sa.create_engine(with_driver(url), connect_args=timeout(url), **options)
    if url.startswith(SQLITE):
        sa.event.listen(made, "connect", _connected)
        sa.event.listen(made, "begin", _begun)
    keep_alive(made)
    return made


def keep_alive(engine: sa.Engine) -> None:
    """Let a PostgreSQL server notice within a minute that this machine is lost, and end its sessions."""
    if engine.dialect.driver == "psycopg":
        sa.event.listen(engine, "connect", _kept_alive)


def missing(url: str) -> bool:
    """Whether there can be nothing yet, since it would be in a SQLite file that is not there."""
    return url.startswith(SQLITE) and not os.path.lexists(url.removeprefix(SQLITE))


def timeout(url: str) -> dict[str, int]:
    """What a connection is made with."""
    return {"timeout": BUSY_SECONDS} if url.startswith(SQLITE) else {"connect_timeout": CONNECT_SECONDS}


def _connected(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _kept_alive(connection: Any, record: Any) -> None:
    connection.execute(KEEPALIVES)
    connection.commit()  # else a rollback would take them back


def _begun(connection: sa.Connection) -> None:
    # A transaction that reads first and writes then would fail at once where another connection has written.
    kind = "IMMEDIATE" if connection.get_execution_options().get(WRITING) else "DEFERRED"
    connection.exec_driver_sql(f"BEGIN {kind}")


def write_ahead(file: str) -> None:
    """One write to the disk per transaction instead of three, for others' SQLite files; the file keeps it."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


@contextmanager
def unusable(what: str, url: str, error: type[GradsweepError] = StoreError) -> Iterator[None]:
    """Whatever a database raises in this block becomes this error, in one line and without the password."""
    try:
        yield
    except (SQLAlchemyError, OSError, ImportError) as problem:
        raise error(f"{what} {shown(url)}: {cause(problem)}") from problem


def shown(url: str) -> str:
    """A database's URL without its password."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True).removeprefix(SQLITE)
    except ArgumentError:
        return "the database"


def cause(error: BaseException) -> str:
    """What the database said, in a line, without SQLAlchemy's words around it."""
    return " ".join(str(getattr(error, "orig", None) or error.__cause__ or error).split())[:300]


def connection_lost(error: BaseException) -> bool:
    """Whether a server was not there, rather than there and of another opinion."""
    if not isinstance(error, DBAPIError):
        return False
    # psycopg's error for a connection that can't be made, or is gone, has no code of the server's own; class 57P is
    # the server's: it is shutting down, has crashed, or is starting up.
    state = getattr(error.orig, "sqlstate", None)
    of_server = type(error.orig).__module__.startswith("psycopg") and type(error.orig).__name__ != "ProgrammingError"
    return error.connection_invalidated or (
        of_server and isinstance(error, OperationalError) and (state is None or state.startswith(("57P", "08")))
    )


def advisory_key(what: str) -> int:
    """PostgreSQL's number for a lock of ours."""
    return int.from_bytes(hashlib.sha256(f"gradsweep: {what}".encode()).digest()[:8], signed=True)
