"""Where sweeps live: one folder, and the one place that knows the name of every file in it.

>>> store = Store.at("/data/sweeps").create()
>>> store.mlflow_uri
'sqlite:////data/sweeps/mlflow.db'
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DEFAULT_FOLDER = "gradsweep-store"
VARIABLE = "GRADSWEEP_STORE"
# The owner may write, nobody else, whatever the umask.
_MODE = 0o755


class StoreError(ValueError):
    """A folder can't be a store: one line that says which, and why."""


@dataclass(frozen=True)
class Store:
    """The places of a store; `folder` is absolute. Nothing is made before `create`."""

    folder: Path

    @classmethod
    def at(cls, folder: str | Path | None = None) -> Store:
        """The store in this folder; without one, in $GRADSWEEP_STORE, else in ./gradsweep-store. Raises StoreError."""
        chosen = folder if folder is not None else os.environ.get(VARIABLE) or DEFAULT_FOLDER
        if "://" in str(chosen):
            raise StoreError(f"a store is a folder on this machine, but got {str(chosen)!r}")
        if not str(chosen).strip() or "\0" in str(chosen) or "?" in str(chosen):
            raise StoreError(f"a store's folder needs a name without '?', but got {str(chosen)!r}")
        return cls(Path(chosen).expanduser().absolute())

    @property
    def optuna_url(self) -> str:
        """The URL of Optuna's database."""
        return f"sqlite:///{self.folder / 'optuna.db'}"

    @property
    def mlflow_db(self) -> Path:
        """The file of MLflow's database."""
        return self.folder / "mlflow.db"

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking URI."""
        return f"sqlite:///{self.mlflow_db}"

    @property
    def artifacts(self) -> Path:
        """The folder of MLflow's artifacts, a subfolder a sweep."""
        return self.folder / "artifacts"

    @property
    def ray(self) -> Path:
        """The folder of Ray's experiments."""
        return self.folder / "ray"

    @property
    def spool(self) -> Path:
        """The folder of the drivers' records, a file a sweep."""
        return self.folder / "spool"

    def spool_file(self, sweep: str) -> Path:
        """The spool of one sweep."""
        return self.spool / f"{sweep}.db"

    def states(self, sweep: str) -> Path:
        """The folder of the states of one sweep's packs in training."""
        return self.ray / sweep / "packs"

    def lock_file(self, sweep: str) -> Path:
        """The file that one sweep's driver holds locked."""
        return self.spool / f"{sweep}.lock"

    def outgoing(self, sweep: str) -> Path:
        """The folder of the files of one sweep on their way to MLflow."""
        return self.spool / f"{sweep}.outgoing"

    def create(self) -> Store:
        """Make the folders that are missing, and see that one can write there. Raises StoreError."""
        try:
            for folder in (self.folder, self.artifacts, self.ray, self.spool):
                _make(folder)
                with tempfile.TemporaryFile(dir=folder):
                    pass
        except OSError as error:
            raise StoreError(f"can't write the store {self.folder}: {error.strerror or error}") from None
        return self


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder that is empty at first and gone afterwards; it has a fixed name, so that a crash leaves one at most."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=_MODE)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(folder: Path) -> None:
    # Not mkdir(parents=True): that gives parents whatever the umask leaves.
    if not folder.parent.exists():
        _make(folder.parent)
    folder.mkdir(mode=_MODE, exist_ok=True)
