"""The command `sync`: make the mirrors what the ledger says, now that they answer again."""

from __future__ import annotations

import sys
from typing import Any

from sweeps.driver.signals import Interrupt, Interrupted

PATIENCE_SECONDS = 30.0


def sync(name: str, folder: str | None, rebuild: bool = False) -> tuple[int, dict[str, Any]]:
    """Write until nothing is lacking, or nothing is taken for a while: the exit status, and what became of it.

    To do it again changes nothing. With `rebuild` this sweep's runs and studies are deleted first, and made anew.
    Raises SearchError for no such sweep and for one that has a driver, which does this itself; StoreError where
    MLflow's server refuses us.
    """
    from sweeps.driver.status import stored_spec
    from sweeps.store_file import open_store
    from tracking.locks import driver_lock
    from tracking.mirrors.follower import Mirrors, check_login

    def say(waiting: int) -> None:
        print(f"{waiting} configurations left", file=sys.stderr)

    store = open_store(folder)
    status = None
    with Interrupt() as interrupt:
        uri = stored_spec(name, store).tracking.uri
        check_login(uri or store.mlflow_uri)
        with driver_lock(store.ledger_url, name, store.lock_file(name)):
            mirrors = Mirrors(store, name, uri)
            lacking = mirrors.start(rebuild=rebuild)
            try:
                lacking = max(lacking, mirrors.wait(PATIENCE_SECONDS, interrupt.check, say))
            except Interrupted as signal:
                status = signal.exit_status
                print(f"Interrupted. To continue: gradsweep sync {name}", file=sys.stderr)
            left = mirrors.close(0.5)
    document = {"name": name, "delivered": lacking - left.waiting, "waiting": left.waiting, "problem": left.problem}
    return status or int(left.waiting > 0), document


def sync_text(sync: dict[str, Any]) -> str:
    """A line."""
    left = f"; {sync['waiting']} are still lacking: {sync['problem']}" if sync["waiting"] else ""
    return f"{sync['name']}: {sync['delivered']} configurations written{left}"
