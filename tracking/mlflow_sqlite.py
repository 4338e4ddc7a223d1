"""MLflow's own SQLite database, made and written fast: 12 to 17 ms a configuration of 2 epochs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from mlflow.store.db.utils import _get_latest_schema_revision
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tracking import mlflow_tables
from tracking.files import synchronize
from tracking.runs import RunUpdate
from tracking.store import scratch
from trainers.errors import StoreError

# 20% less to write than with pages of 4 kB: an insertion touches a leaf for each metric.
_PAGE = 16384
_PRAGMAS: dict[str, tuple[str, ...]] = {}


@event.listens_for(Engine, "connect")
def _set_pragmas(connection: Any, _: Any) -> None:
    """Of MLflow's connections to our databases, and to no others."""
    if isinstance(connection, sqlite3.Connection):
        file = connection.execute("PRAGMA database_list").fetchone()[2]
        for pragma in _PRAGMAS.get(file, ()):
            connection.execute(f"PRAGMA {pragma}")


def prepare(file: Path, artifacts: Path) -> None:
    """Make MLflow's database where it is missing: half a second, and there at once or not at all. Raises OSError."""
    real = os.path.realpath(file)
    # What leaves the spool must be on the disk: a power cut would take the latest of an unsynchronized log.
    _PRAGMAS[real] = ("journal_mode=WAL", "synchronous=FULL")
    with _alone_in(file.parent):
        place = file.with_name(f"{file.name}.new")
        # What a process that was killed left behind is made anew, or is of no use any more.
        shutil.rmtree(place, ignore_errors=True)
        if not file.exists():
            with scratch(place) as folder:
                new = folder / file.name
                _PRAGMAS[os.path.realpath(new)] = (f"page_size={_PAGE}", "journal_mode=MEMORY", "synchronous=OFF")
                made = SqlAlchemyStore(f"sqlite:///{new}", artifacts.as_uri())  # type: ignore[no-untyped-call]
                made.engine.dispose()
                synchronize(new)
                os.replace(new, file)


def check(file: Path) -> None:
    """See that a database is one of this MLflow. Raises StoreError: MLflow itself would try for minutes."""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as db:
            (found,) = db.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise StoreError(f"{file} is no database of MLflow's: {error}") from None
    if found != (ours := _get_latest_schema_revision()):  # type: ignore[no-untyped-call]
        raise StoreError(
            f"{file} is of another MLflow (its schema is {found}, here it is {ours}): use that one, or, where it is "
            f"older, `mlflow db upgrade sqlite:///{file}`"
        )


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """No other process or thread is in this block for the same folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class SqliteWriter:
    """Writes into the database's tables; one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def opened(cls, file: Path) -> SqliteWriter | None:
        """The writer of an MLflow database; None where its tables are not as known here."""
        connection = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-64000"):
            connection.execute(f"PRAGMA {pragma}")
        for table, columns in mlflow_tables.COLUMNS.items():
            if not columns <= {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}:
                connection.close()
                return None
        return cls(connection)

    def write(self, updates: Sequence[RunUpdate]) -> dict[str, str]:
        """Write all of it in one transaction; run -> what is wrong with it, for runs that are no more.

        Raises sqlite3.Error, and nothing is written.
        """
        with self._transaction() as db:
            gone = _gone(db, [u.run for u in updates])
            kept = [u for u in updates if u.run not in gone]
            rows = mlflow_tables.rows(kept)
            db.executemany(
                "INSERT OR IGNORE INTO metrics (key, timestamp, step, run_uuid, value, is_nan)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            db.executemany(
                "INSERT INTO latest_metrics (key, timestamp, step, run_uuid, value, is_nan)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, run_uuid) DO UPDATE"
                " SET timestamp=excluded.timestamp, step=excluded.step, value=excluded.value, is_nan=excluded.is_nan"
                " WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)",
                mlflow_tables.latest(rows),
            )
            db.executemany(
                "INSERT OR IGNORE INTO params (key, value, run_uuid) VALUES (?, ?, ?)",
                [(key, value, u.run) for u in kept for key, value in u.params.items()],
            )
            db.executemany(
                "INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
                [(key, value, u.run) for u in kept for key, value in u.tags.items()],
            )
            db.executemany(
                "UPDATE runs SET status=?, end_time=? WHERE run_uuid=?",
                [(u.status, u.ended, u.run) for u in kept if u.status is not None],
            )
        return dict.fromkeys(gone, mlflow_tables.DELETED)

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


def _gone(db: sqlite3.Connection, runs: Collection[str]) -> set[str]:
    """Those of the runs that are not there, or deleted."""
    alive = "SELECT 1 FROM runs WHERE run_uuid=? AND lifecycle_stage='active'"
    return {run for run in runs if db.execute(alive, (run,)).fetchone() is None}
