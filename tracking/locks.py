"""One driver per sweep, and one writer of each of its mirrors: locks that are released when their owner ends, however
that happens.

With a SQLite ledger, which one machine uses, it is the operating system's lock on a file. A PostgreSQL server keeps the
lock itself while its owner's connection lives, so it holds for all machines.

Whoever wants to write a mirror waits for its lock; a driver does so in the background. A `gradsweep sync`, which is no
driver, lets go of it as soon as the sweep has one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from tenacity import Retrying, stop_after_attempt, wait_fixed

from tracking import database
from trainers.errors import SearchError

ELSEWHERE = "perhaps on another machine"
_HELD = """
SELECT EXISTS (
    SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE datname = current_database() AND locktype = 'advisory' AND objsubid = 1
      AND classid::bigint = :high AND objid::bigint = :low
)
"""


@contextmanager
def driver_lock(url: str, name: str, file: Path) -> Iterator[Callable[[], None]]:
    """Be the sweep's driver in this block; `file` is the lock file for a SQLite ledger.

    Yields a function that takes the lock again after a server was restarted; it raises SearchError if another driver
    was faster. Raises SearchError if the sweep has a driver, StoreError if the server can't be reached.
    """
    connection: sa.Connection | None = None

    def take() -> None:
        nonlocal connection
        if connection is None or not _alive(connection):
            connection = held.enter_context(_connect(url))
            if not _locked(connection, _driver(name)):
                raise _taken(name, ELSEWHERE)

    with ExitStack() as held:
        if url.startswith(database.SQLITE):
            try:
                held.enter_context(file_lock(file))
            except BlockingIOError as error:
                raise _taken(name, _shown(str(error))) from None
            yield lambda: None
            return
        with database.unusable("can't open", url):
            take()
        yield take


@contextmanager
def mirror_lock(url: str, name: str, mirror: str, file: Path) -> Iterator[Callable[[], bool]]:
    """Write a mirror (mlflow | optuna) of a sweep in this block; `file` is the lock file for a SQLite ledger.

    Yields a function that says whether this process is its one writer, and becomes that where there is none: to be
    asked before each round, for a server that was restarted has forgotten.
    """
    held = ExitStack()
    connection: sa.Connection | None = None
    owned = False

    def own() -> bool:
        nonlocal connection, owned
        try:
            if url.startswith(database.SQLITE):
                if not owned:
                    held.enter_context(file_lock(file))
            else:
                if connection is None or not _alive(connection):
                    connection, owned = held.enter_context(_connect(url)), False
                if not owned and not _locked(connection, _writer(name, mirror)):
                    return False
            owned = True
        except (BlockingIOError, SQLAlchemyError):
            owned = False
        return owned

    with held:
        yield own


@contextmanager
def file_lock(file: Path) -> Iterator[None]:
    """Hold the lock on a file in this block. Raises BlockingIOError, with the process that has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a+") as handle:
        # `holder` takes the lock for a moment, which must not be mistaken for a driver.
        patient = Retrying(stop=stop_after_attempt(3), wait=wait_fixed(0.1), reraise=True)
        try:
            patient(fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            raise BlockingIOError(handle.read().strip() or "unknown") from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
        handle.truncate(0)


def holder(url: str, name: str, file: Path) -> str | None:
    """A sweep's driver: its process, `ELSEWHERE` if a server keeps the lock, None without one. Raises StoreError."""
    return _holder(url, _driver(name), file)


def refuse_running(url: str, name: str, file: Path) -> None:
    """Raise SearchError if the sweep has a driver, StoreError if the server can't be reached."""
    if driver := holder(url, name, file):
        raise _taken(name, _shown(driver))


def writer(url: str, name: str, mirror: str, file: Path) -> str | None:
    """Who writes a mirror of a sweep, in words for people; None where nobody does. Raises StoreError."""
    process = _holder(url, _writer(name, mirror), file)
    return _shown(process) if process else None


def _holder(url: str, what: str, file: Path) -> str | None:
    if not url.startswith(database.SQLITE):
        key = database.advisory_key(what) % 2**64  # which pg_locks shows as its two halves
        with database.unusable("can't open", url), _connect(url) as connection:
            halves = {"high": key >> 32, "low": key & 0xFFFFFFFF}
            return ELSEWHERE if connection.scalar(sa.text(_HELD), halves) else None
    if not file.exists():
        return None
    with open(file) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return handle.read().strip() or "unknown"
        return None


def _connect(url: str) -> sa.Connection:
    return database.engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT").connect()


def _locked(connection: sa.Connection, what: str) -> bool:
    return bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(database.advisory_key(what)))))


def _driver(name: str) -> str:
    return f"driver of {name}"


def _writer(name: str, mirror: str) -> str:
    return f"{mirror} of {name}"


def _alive(connection: sa.Connection) -> bool:
    try:
        return bool(connection.scalar(sa.select(sa.true())))
    except SQLAlchemyError:
        return False


def _shown(process: str) -> str:
    return process if process == ELSEWHERE else f"process {process}"


def _taken(name: str, where: str) -> SearchError:
    return SearchError(f"sweep {name!r} is already running ({where})")
