"""What a sweep that is no longer running left on this machine: processes, and files that only a running one needs."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

from sweeps.environment import environment
from tracking.store import Store

VARIABLE = "GRADSWEEP_SWEEP"


def marked(sweep: str, store: Store) -> AbstractContextManager[None]:
    """Mark all processes that are started in this block as the sweep's."""
    return environment({VARIABLE: f"{store.folder}/{sweep}"})


def processes_of(sweep: str, store: Store) -> dict[int, str]:
    """The running processes that drivers of a sweep have started: process id -> command line.

    Linux only, and of this user only; empty elsewhere.
    """
    mark = f"{VARIABLE}={store.folder}/{sweep}".encode()
    lines = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) != os.getpid() and mark in (folder / "environ").read_bytes().split(b"\0"):
                lines[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:  # it has just ended, or is somebody else's
            continue
    return {number: line for number, line in lines.items() if line}


def files_of(sweep: str, store: Store) -> list[Path]:
    """Files and folders that no sweep leaves behind, apart from the states of packs in training."""
    made_anew = store.mlflow_db.with_name(f"{store.mlflow_db.name}.new")
    others = [file for file in store.states(sweep).glob("*") if file.is_dir()]
    return [file for file in (store.outgoing(sweep), made_anew, *others) if file.exists()]
