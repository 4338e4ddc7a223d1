"""`--store`: a folder, or a small YAML file that says where a team's sweeps live.

    ledger: {env: GRADSWEEP_LEDGER_URL}    # PostgreSQL; the variable holds the whole URL, with its password
    mlflow: http://mlflow.example.com      # its name and password are in MLFLOW_TRACKING_USERNAME and -PASSWORD
    folder: /mnt/gradsweep                 # seen by every node: the driver's records, states of members in training

A value is a text, `{env: NAME}`, or `{file: PATH}` (a mounted secret); these two are read where the driver runs, so
that no password travels with a sweep. One that is written into the file is refused. What is left out is in the folder.

    >>> store = open_store("store.yaml")
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from sweeps.spec.yaml_lines import YamlError, load
from tracking.store import VARIABLE, Address, Store
from trainers.errors import StoreError

DATABASES = ("postgresql://", "postgresql+psycopg://", "postgres://", "sqlite://")
SERVERS = ("http://", "https://")
# key -> what its value may begin with, and what to say of one that doesn't
KEYS = {
    "ledger": (DATABASES, f"must begin with one of {', '.join(DATABASES)}"),
    "mlflow": (SERVERS + DATABASES, f"must begin with one of {', '.join(SERVERS + DATABASES)}"),
    "folder": (("/",), "must be an absolute path, the same on every node"),
    "checkpoints": (("s3://", "gs://", "file:///"), "must be s3://BUCKET/PATH, gs://BUCKET/PATH or file:///PATH"),
}
LARGEST = 1 << 16  # bytes


def open_store(chosen: str | Path | None = None) -> Store:
    """The store of `--store`, else of $GRADSWEEP_STORE, else ./gradsweep-store. Raises StoreError."""
    text = str(chosen) if chosen is not None else os.environ.get(VARIABLE, "")
    if not names_a_file(text):
        return Store.at(chosen)
    file = Path(os.path.expanduser(text)).absolute()
    return parse_store(read_text(file), file).check()


def names_a_file(text: str) -> bool:
    """Whether this is a store file and no folder."""
    if "://" in text or not text.isprintable():
        return False
    return text.endswith((".yaml", ".yml")) or os.path.isfile(os.path.expanduser(text))


def read_text(file: Path) -> str:
    """What is in a store file. Raises StoreError."""
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise StoreError(f"the store file {file} can't be read: {reason}") from None


def parse_store(text: str, file: Path) -> Store:
    """The store that a file's text describes. Raises StoreError, with the file and the line."""
    try:
        data, lines = load(text)
    except YamlError as error:
        raise StoreError(f"{file}:{error.line}: {error}") from None
    if not isinstance(data, dict) or "folder" not in data:
        raise StoreError(
            f"{file}:1: a store file is a mapping with the keys {', '.join(KEYS)}, of which folder is needed"
        )
    parts: dict[str, Any] = {}
    for written, value in data.items():
        # In the first version's files the ledger is called optuna: it is the same database.
        key, place = "ledger" if written == "optuna" else written, f"{file}:{lines[(written,)]}: {written}"
        if key not in KEYS:
            raise StoreError(f"{place}: unknown key; there are {', '.join(KEYS)}")
        if key in parts:
            raise StoreError(f"{place}: there is {key} already, of which optuna is the older name: give one of the two")
        parts[key] = None if value is None and key != "folder" else _part(key, value, place)
    return Store(Path(parts.pop("folder")), **parts, file=file)


def _part(key: str, value: Any, place: str) -> Address | str:
    """What a store has of a value of the file. Refuses a password, without showing it."""
    beginnings, rule = KEYS[key]
    is_address = key in ("ledger", "mlflow")
    match value:
        case {"env": str()} | {"file": str()} if is_address and len(value) == 1:
            return Address(**value)
    if is_address and not isinstance(value, str):
        raise StoreError(f"{place}: must be an address, {{env: NAME}} or {{file: PATH}}")
    try:
        parts = urlsplit(str(value))
        secret = parts.password is not None or any(name == "password" for name, _ in parse_qsl(parts.query))
    except ValueError:
        raise StoreError(f"{place}: is not an address") from None
    if secret:
        hint = "put the whole address into an environment variable and write {env: NAME}"
        if parts.scheme in ("http", "https"):
            hint = "leave it out and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        raise StoreError(f"{place}: a password has no place in a file that travels with a sweep: {hint}")
    if not isinstance(value, str) or not value.startswith(beginnings):
        raise StoreError(f"{place}: {rule}, but got {value!r}")
    if key == "checkpoints" and "?" in value:
        raise StoreError(f"{place}: keys and endpoints of a bucket come from the environment (AWS_...), not from here")
    return Address(value) if is_address else value
