"""MLflow's public client: with the settings that we need, and its errors as one of two of ours.

It imports mlflow, which takes more than a second: import it where it is used.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tracking import database
from tracking.store import remove_own, scratch, with_driver, without_password
from trainers.errors import Unavailable, Unmendable, flat
from trainers.files import locked, synchronize

# Its own retries would keep the thread for minutes; ours can be interrupted. It prints where a run can be seen to
# standard output, which is not its own.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_users = 0
_set_here: list[str] = []
_counting = threading.Lock()


@contextmanager
def settings(timeout: int = 60) -> Iterator[None]:
    """MLflow's settings as we need them while any thread is in this block; the user's own stand.

    `timeout` is the seconds that an HTTP request may take, as the first in the block says.
    """
    global _users
    wanted = _SETTINGS | {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout)}
    with _counting:
        if _users == 0:
            _set_here[:] = [name for name in wanted if name not in os.environ]
            os.environ.update({name: wanted[name] for name in _set_here})
        _users += 1
    try:
        yield
    finally:
        with _counting:
            _users -= 1
            if _users == 0:
                for name in _set_here:
                    os.environ.pop(name, None)


with settings():
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Metric, Param, Run, RunTag, ViewType
    from mlflow.exceptions import MlflowException

__all__ = ["Experiment", "Metric", "MlflowClient", "Param", "Run", "RunTag", "ViewType"]  # what others import from here

SERVERS = ("http://", "https://")
_REFUSALS = {
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "CUSTOMER_UNAUTHORIZED",
    "RESOURCE_DOES_NOT_EXIST",
    "ENDPOINT_NOT_FOUND",
    "NOT_FOUND",
    "INVALID_STATE",
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "FEATURE_DISABLED",
}


def connected(uri: str) -> MlflowClient:
    """A client; of a database the tables are made where they are missing."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if uri.startswith(database.SQLITE):
        _prepare(Path(uri.removeprefix(database.SQLITE)))
    elif not uri.startswith(SERVERS):
        # Before MLflow, which would try for minutes to reach a server that is not there.
        database.engine(uri, poolclass=sa.NullPool).connect().close()
    return MlflowClient(with_driver(uri), registry_uri=with_driver(uri))


def _prepare(file: Path) -> None:
    """Make MLflow's SQLite database where it is missing, at once or not at all."""
    with locked(file.parent):
        place = file.with_name(f"{file.name}.new")
        # What a killed process left behind is made again, or is no longer needed.
        with suppress(FileExistsError):
            remove_own(place)
        if not file.exists():
            with scratch(place) as folder:
                MlflowClient(uri := f"{database.SQLITE}{folder / file.name}", registry_uri=uri)
                synchronize(folder / file.name)
                os.replace(folder / file.name, file)
        database.write_ahead(str(file))


@contextmanager
def translated() -> Iterator[None]:
    """Whatever goes wrong as one of two kinds of error, in one line: a later try may mend it, or none can."""
    try:
        yield
    except MlflowException as error:
        if error.error_code in _REFUSALS:
            raise Unmendable(_line(error), error.error_code) from None
        raise Unavailable(_line(error)) from None
    except (sa.exc.SQLAlchemyError, OSError, sqlite3.Error) as error:
        raise Unavailable(_line(error)) from None


def _line(error: Any) -> str:
    text = flat(str(database.cause(error) if isinstance(error, sa.exc.SQLAlchemyError) else error))
    return without_password(f"MLflow: {text or type(error).__name__}")
