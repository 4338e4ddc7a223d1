"""The command `sync`: what waits in a sweep's spool, to MLflow, now that it answers again."""

from __future__ import annotations

import sys
from typing import Any

from sweeps.driver.signals import Interrupt


def sync(name: str, folder: str | None) -> tuple[int, dict[str, Any]]:
    """Deliver until nothing waits, or MLflow takes nothing for a while: the exit status, and what became of it."""
    from sweeps.driver.sync import sync as sync_sweep
    from sweeps.store_file import open_store

    with Interrupt() as interrupt:
        found = sync_sweep(name, open_store(folder), interrupt, _say)
    if found.interrupted is not None:
        print("gradsweep: interrupted; what is not delivered waits in the spool", file=sys.stderr)
    status = found.interrupted if found.interrupted is not None else 1 if found.waiting else 0
    document = {"name": name, "delivered": found.before - found.waiting, "waiting": found.waiting}
    return status, document | {"problem": found.problem}


def sync_text(sync: dict[str, Any]) -> str:
    """A line."""
    left = f"; {sync['waiting']} still wait in the spool: {sync['problem']}" if sync["waiting"] else ""
    return f"{sync['name']}: {sync['delivered']} events delivered{left}"


def _say(waiting: int) -> None:
    print(f"{waiting} events wait", file=sys.stderr)
