"""Where sweeps live: a folder, and the one place that knows the name of every file in it; or a team's servers.

>>> store = Store.at("/data/sweeps").create()
>>> store.mlflow_uri
'sqlite:////data/sweeps/mlflow.db'
>>> Store(Path("/data/sweeps"), ledger=Address(env="LEDGER_URL"), mlflow=Address("http://mlflow:5000"))

An address that holds a password is never kept here: only the name of the environment variable or of the file that it
is read from, each time. So a store may be printed, logged and pickled.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import StoreError

DEFAULT_FOLDER = "gradsweep-store"
VARIABLE = "GRADSWEEP_STORE"
FORMAT = 2  # of what lies in the folder, and how
MARK = ".gradsweep"  # a file in what we have made elsewhere, in folders and buckets; its content may say for whom
LEAST_FREE = 8 << 20  # bytes: the databases alone take one, and a full disk is better noticed before the first record
# The owner may write, nobody else, whatever the umask.
_MODE = 0o755


@dataclass(frozen=True)
class Address:
    """The address of a database or a server: in the open, or the environment variable or the file that holds it."""

    plain: str = ""
    env: str = ""
    file: str = ""

    def read(self) -> str:
        """The address itself. Raises StoreError if its variable or file is missing or empty."""
        place = f"the environment variable {self.env}" if self.env else f"the file {self.file}"
        try:
            address = self.plain or (os.environ.get(self.env, "") if self.env else Path(self.file).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise StoreError(f"the store's address can't be read from {place}: {reason}") from None
        if not address.strip():
            raise StoreError(f"the store's address must be in {place}, which is unset or empty")
        return with_driver(address.strip())


@dataclass(frozen=True)
class Store:
    """The parts of a store; `folder` is absolute. Nothing exists before `create`.

    `ledger` is a team's PostgreSQL database, which holds the Optuna mirror as well. It and `mlflow` are None if they
    are SQLite files in the folder, `checkpoints` if the states of members in training are there. `file` is the store
    file that names these parts, None for a plain folder.
    """

    folder: Path
    ledger: Address | None = None
    mlflow: Address | None = None
    checkpoints: str | None = None
    file: Path | None = None

    @classmethod
    def at(cls, folder: Store | str | Path | None = None) -> Store:
        """The store in this folder; without one, in $GRADSWEEP_STORE, else in ./gradsweep-store. Raises StoreError."""
        if isinstance(folder, Store):
            return folder
        chosen = folder if folder is not None else os.environ.get(VARIABLE) or DEFAULT_FOLDER
        if "://" in str(chosen):
            raise StoreError(
                "a store is a folder on this machine, or a YAML file with its places (ledger, mlflow, folder), "
                f"but got {without_password(str(chosen))!r}"
            )
        if not str(chosen).strip() or not str(chosen).isprintable() or "?" in str(chosen):
            raise StoreError(f"a store's folder needs a printable name without '?', but got {str(chosen)!r}")
        try:
            folder = Path(chosen).expanduser().absolute()
            if escape := re.search("%[0-9a-fA-F]{2}", str(folder)):
                # In a database's URL that is another character: its file would be in another folder.
                raise StoreError(f"a store's folder needs a name without {escape[0]!r}, but got {str(folder)!r}")
            return cls(folder).check()
        except RuntimeError as error:  # ~nobody
            raise StoreError(f"can't use {str(chosen)!r} as a store: {error}") from None

    @property
    def where(self) -> Path:
        """What to pass to `--store` to get here again."""
        return self.file or self.folder

    @property
    def ledger_url(self) -> str:
        """The URL of the ledger's database, with its password: not to be shown. Raises StoreError."""
        return self.ledger.read() if self.ledger else f"sqlite:///{self.folder / 'ledger.db'}"

    @property
    def optuna_url(self) -> str:
        """The URL of the Optuna mirror's database, with its password: not to be shown. Raises StoreError."""
        return self.ledger.read() if self.ledger else f"sqlite:///{self.folder / 'optuna.db'}"

    @property
    def mlflow_db(self) -> Path:
        """The file of MLflow's database, if it is in the folder."""
        return self.folder / "mlflow.db"

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking URI, perhaps with a password: not to be shown. Raises StoreError."""
        return self.mlflow.read() if self.mlflow else f"sqlite:///{self.mlflow_db}"

    @property
    def variables(self) -> list[str]:
        """The environment variables that hold its addresses."""
        return [address.env for address in (self.ledger, self.mlflow) if address and address.env]

    @property
    def of_one_machine(self) -> list[str]:
        """Which of its places are SQLite files. Raises StoreError."""
        urls = {"ledger": self.ledger_url, "mlflow": self.mlflow_uri}
        return [name for name, url in urls.items() if url.startswith("sqlite:")]

    @property
    def artifacts(self) -> Path:
        """The folder of MLflow's artifacts, one subfolder per sweep."""
        return self.folder / "artifacts"

    def states(self, sweep: str) -> Path:
        """The folder of the states of one sweep's packs in training."""
        return self.checkpoints_folder / sweep

    @property
    def checkpoints_folder(self) -> Path:
        """The folder of the states of members in training, one subfolder per sweep."""
        return self.folder / "checkpoints"

    @property
    def own_folders(self) -> list[Path]:
        """The folders in which every file is ours, once the store's folder has its file `format`."""
        names = ("artifacts", "checkpoints", "kept", "locks", "logs", "outgoing", "reports")
        return [self.folder / name for name in names]

    def kept(self, sweep: str) -> Path:
        """The folder of what is kept of one sweep's trained members."""
        return self.folder / "kept" / sweep

    def lock_file(self, sweep: str) -> Path:
        """The lock file of one sweep's driver."""
        return self.folder / "locks" / f"{sweep}.lock"

    def mirror_lock_file(self, sweep: str, mirror: str) -> Path:
        """The lock file of whoever writes one of a sweep's mirrors."""
        return self.folder / "locks" / f"{sweep}.{mirror}.lock"

    def outgoing(self, sweep: str) -> Path:
        """The folder of the files of one sweep on their way to MLflow."""
        return self.folder / "outgoing" / sweep

    def report(self, sweep: str) -> Path:
        """The folder of one sweep's page and figures until MLflow has them."""
        return self.folder / "reports" / sweep

    def files(self, sweep: str) -> list[Path]:
        """What else there is of one sweep in the folder, apart from its states and what MLflow keeps."""
        logs = [file for file in (self.folder / "logs").glob(f"{sweep}.*") if file.suffix != ".lock"]
        return [path for path in (self.outgoing(sweep), self.report(sweep), *logs) if path.exists()]

    def check(self) -> Store:
        """Check that the folder, if it exists, has this version's format. Raises StoreError."""
        file = self.folder / "format"
        try:
            written = file.read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            # The first version's oldest stores have no such file.
            written = "1" if (self.folder / "spool").is_dir() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"can't read {file}: {getattr(error, 'strerror', None) or 'not text'}") from None
        if written not in (str(FORMAT), ""):  # empty: it is just being written
            maker = "version 0.1" if written == "1" else "another version"
            raise StoreError(
                f"the store {self.folder} was made by {maker} of gradsweep (format {written[:20]!r}, not {FORMAT}): "
                "choose another store with --store"
            )
        return self

    def create(self) -> Store:
        """Make the missing folders, and check that they can be written. Connects to nothing.

        The file `format` makes the folder ours, so a folder without it must have nothing in `own_folders`: what is
        there is somebody else's, and would be overwritten or deleted. Raises StoreError, also if an address can't be
        read.
        """
        assert self.ledger_url and self.mlflow_uri
        made: list[Path] = []
        try:
            foreign = [folder for folder in self.own_folders if folder.is_dir() and any(folder.iterdir())]
            # Looked for second: a process that makes the store at this moment writes it before it fills the folders.
            if foreign and not (self.folder / "format").exists():
                raise StoreError(
                    f"{self.folder} is no store of gradsweep's, but has a folder {foreign[0].name!r} in which a store "
                    "keeps files of its own: choose another folder with --store"
                )
            free = shutil.disk_usage(next(f for f in (self.folder, *self.folder.parents) if f.exists())).free
            if free < LEAST_FREE:
                left = f"only {free >> 10} KiB are free"
                raise StoreError(f"can't write the store {self.folder}: {left}, {LEAST_FREE >> 20} MiB are needed")
            for folder in (self.folder, self.artifacts, self.checkpoints_folder, self.folder / "locks"):
                # Not mkdir(parents=True): that gives parents whatever the umask leaves.
                for missing in reversed([f for f in (folder, *folder.parents) if not f.is_dir()]):
                    missing.mkdir(mode=_MODE, exist_ok=True)
                    made.append(missing)
                with tempfile.TemporaryFile(dir=folder):
                    pass
            if not (file := self.folder / "format").exists():
                file.write_text(f"{FORMAT}\n")
        except OSError as error:
            for folder in reversed(made):
                with suppress(OSError):
                    folder.rmdir()
            raise StoreError(f"can't write the store {self.folder}: {error.strerror or error}") from None
        return self


def with_driver(url: str) -> str:
    """The URL with the PostgreSQL driver that we install."""
    return re.sub("^postgres(ql)?://", "postgresql+psycopg://", url)


def without_password(text: str) -> str:
    """A text that may contain addresses, without their passwords."""
    return re.sub(r"://[^/@]*@", "://***@", text)


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder that is empty at first and gone afterwards, inside of `folder`, which has a fixed name, so that a crash
    leaves one at most. Raises FileExistsError where that is not ours.
    """
    remove_own(folder)
    try:
        (inside := folder / "files").mkdir(mode=_MODE, parents=True)
        (folder / MARK).touch()
        yield inside
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_own(folder: Path) -> None:
    """Delete a folder of ours, if it is there. Raises FileExistsError where it has files and not our mark."""
    if folder.is_dir() and not (folder / MARK).exists() and not all(f.is_dir() for f in folder.rglob("*")):
        raise FileExistsError(errno.EEXIST, "not made by gradsweep, so it is not replaced", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
