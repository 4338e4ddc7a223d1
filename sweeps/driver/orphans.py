"""What a sweep that is not running has left on this machine: processes, and files that only a running one needs."""

from __future__ import annotations

import os
from pathlib import Path

from tracking.store import Store
from trainers.errors import RequestError

_MARK = "GRADSWEEP_SPOOL"


def must_be_here(sweep: str, store: Store) -> None:
    """Raises RequestError where a sweep's records are not in this machine's folder of the store."""
    if not store.spool_file(sweep).is_file():
        raise RequestError(
            f"the records of the sweep {sweep!r} are not in {store.spool}: do this on the machine of its driver"
        )


def mark(spool: Path) -> None:
    """All processes that this one starts from now on can be told to be of the sweep with this spool."""
    os.environ[_MARK] = str(spool)


def processes_of(spool: Path) -> dict[int, str]:
    """The processes that drivers of a sweep have started and that are still there: number -> command line.

    Linux only, and of this user only; empty elsewhere.
    """
    marked = f"{_MARK}={spool}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) != os.getpid() and marked in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:  # it has just ended, or is somebody else's
            continue
    return {number: line for number, line in found.items() if line}


def files_of(sweep: str, store: Store) -> list[Path]:
    """Files and folders that no sweep leaves behind by itself, besides the states of packs in training."""
    made_anew = store.mlflow_db.with_name(f"{store.mlflow_db.name}.new")
    others = [f for f in (store.ray / sweep).glob("*") if f != store.states(sweep)]
    return [f for f in (store.outgoing(sweep), made_anew, *others) if f.exists()]
