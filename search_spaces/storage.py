"""The database behind a sweep, opened for many small writes by one driver.

SQLite in WAL mode with synchronous=NORMAL: a commit does not wait for the disk. Nothing committed is lost with the
process; only a power failure can take the last moments, and leaves an older, consistent state.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

optuna.logging.set_verbosity(optuna.logging.WARNING)
_SQLITE = "sqlite:///"


class SearchError(ValueError):
    """A sweep's study is not there, already there, or not what was expected; one line, without a password."""


class _Connection(sqlite3.Connection):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


def exists(url: str) -> bool:
    """Whether there is something to open; always true of a server, which only an attempt can tell."""
    return not url.startswith(_SQLITE) or Path(url.removeprefix(_SQLITE)).is_file()


def open_storage(url: str) -> tuple[RDBStorage, BaseStorage]:
    """The storage, and Optuna's cache in front of it; raises SearchError."""
    for short in ("postgres://", "postgresql://"):  # the driver that we install
        if url.startswith(short):
            url = "postgresql+psycopg://" + url.removeprefix(short)
    connect: dict[str, Any] = {"factory": _Connection, "timeout": 60} if url.startswith("sqlite:") else {}
    escaped = url.replace("{", "{{").replace("}", "}}")  # Optuna fills in a template
    try:
        storage = RDBStorage(escaped, engine_kwargs={"connect_args": connect})
    except (SQLAlchemyError, ImportError, RuntimeError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error.__cause__ or error
        raise SearchError(f"can't open {_shown(url)}: {' '.join(str(cause).split())}") from None
    return storage, get_storage(storage)


def close_storage(storage: RDBStorage) -> None:
    """Gives the connections back."""
    storage.remove_session()
    storage.engine.dispose()


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the database"
