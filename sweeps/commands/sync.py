"""The command `sync`: make the mirrors what the ledger says, now that they answer again."""

from __future__ import annotations

import sys
from typing import Any

from sweeps.driver.signals import Interrupt


def sync(name: str, folder: str | None, rebuild: bool = False) -> tuple[int, dict[str, Any]]:
    """Write until nothing is lacking, or nothing is taken for a while: the exit status, and what became of it."""
    from sweeps.driver.sync import sync as sync_sweep
    from sweeps.store_file import open_store

    def say(waiting: int) -> None:
        print(f"{waiting} configurations left", file=sys.stderr)

    with Interrupt() as interrupt:
        synced = sync_sweep(name, open_store(folder), interrupt, say, rebuild=rebuild)
    if synced.interrupted is not None:
        print(f"Interrupted. To continue: gradsweep sync {name}", file=sys.stderr)
    status = synced.interrupted if synced.interrupted is not None else 1 if synced.waiting else 0
    document = {"name": name, "delivered": synced.before - synced.waiting, "waiting": synced.waiting}
    return status, document | {"problem": synced.problem}


def sync_text(sync: dict[str, Any]) -> str:
    """A line."""
    left = f"; {sync['waiting']} are still lacking: {sync['problem']}" if sync["waiting"] else ""
    return f"{sync['name']}: {sync['delivered']} configurations written{left}"
