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

KEYS = ("ledger", "mlflow", "folder", "checkpoints")
OLD_KEYS = {"optuna": "ledger"}  # of the first version: the same database
ENDINGS = (".yaml", ".yml")
DATABASES = ("postgresql", "postgresql+psycopg", "postgres", "sqlite")
SERVERS = ("http", "https")
LARGEST = 1 << 16  # bytes


def open_store(chosen: str | Path | None = None) -> Store:
    """The store of `--store`, else of $GRADSWEEP_STORE, else ./gradsweep-store. Raises StoreError."""
    text = str(chosen) if chosen is not None else os.environ.get(VARIABLE, "")
    if not names_a_file(text):
        return Store.at(chosen)
    try:
        file = Path(text).expanduser().absolute()
    except RuntimeError as error:  # ~nobody
        raise StoreError(f"there is no store file {text!r}: {error}") from None
    return parse_store(read_text(file), file).check()


def names_a_file(text: str) -> bool:
    """Whether this is a store file and no folder."""
    if "://" in text or not text.isprintable():
        return False
    try:
        return text.endswith(ENDINGS) or Path(text).expanduser().is_file()
    except (OSError, RuntimeError):  # too long a name, ~nobody
        return False


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
    places = {key: f"{file}:{lines.get((key,), 1)}: {key}" for key in data}
    for old, key in OLD_KEYS.items():
        if old in data:
            if key in data:
                raise StoreError(f"{places[old]}: is the older name of {key}: give one of the two")
            data[key], places[key] = data.pop(old), places[old]
    for key in data:
        if key not in KEYS:
            raise StoreError(f"{places[key]}: unknown key; there are {', '.join(KEYS)}")
    folder, checkpoints = data["folder"], data.get("checkpoints")
    if not isinstance(folder, str) or not Path(folder).is_absolute():
        raise StoreError(f"{places['folder']}: must be an absolute path, the same on every node, but got {folder!r}")
    if checkpoints is not None:
        _check_bucket(checkpoints, places["checkpoints"])
    return Store(
        folder=Path(folder),
        ledger=_address(data.get("ledger"), places.get("ledger", ""), DATABASES),
        mlflow=_address(data.get("mlflow"), places.get("mlflow", ""), (*SERVERS, *DATABASES)),
        checkpoints=checkpoints,
        file=file,
    )


def _address(value: Any, place: str, schemes: tuple[str, ...]) -> Address | None:
    if value is None:
        return None
    if (
        isinstance(value, dict)
        and set(value) in ({"env"}, {"file"})
        and all(isinstance(v, str) for v in value.values())
    ):
        return Address(**value)
    if not isinstance(value, str):
        raise StoreError(f"{place}: must be an address, {{env: NAME}} or {{file: PATH}}")
    _check_open(value, place)
    scheme, separator, _ = value.partition("://")
    if not separator or scheme not in schemes:
        raise StoreError(f"{place}: must begin with one of {', '.join(f'{s}://' for s in schemes)}, but got {value!r}")
    return Address(value)


def _check_open(address: str, place: str) -> None:
    """Refuse a password, without showing it."""
    try:
        parts = urlsplit(address)
        secret = parts.password is not None or any(key == "password" for key, _ in parse_qsl(parts.query))
    except ValueError:
        raise StoreError(f"{place}: is not an address") from None
    if secret:
        hint = (
            "leave it out and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            if parts.scheme in SERVERS
            else "put the whole address into an environment variable and write {env: NAME}"
        )
        raise StoreError(f"{place}: a password has no place in a file that travels with a sweep: {hint}")


def _check_bucket(value: Any, place: str) -> None:
    if not isinstance(value, str) or not value.startswith(("s3://", "gs://", "file:///")):
        raise StoreError(f"{place}: must be s3://BUCKET/PATH, gs://BUCKET/PATH or file:///PATH, but got {value!r}")
    _check_open(value, place)
    if "?" in value:
        raise StoreError(f"{place}: keys and endpoints of a bucket come from the environment (AWS_...), not from here")
