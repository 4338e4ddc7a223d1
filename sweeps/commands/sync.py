"""The command `sync`: make the mirrors what the ledger says, now that they answer again."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from typer import Option

from sweeps.commands import Json, Name, Store, app, say, typed
from sweeps.driver.signals import Interrupt, Interrupted

PATIENCE_SECONDS = 30.0


@app.command()
def sync(
    name: Name,
    rebuild: Annotated[bool, Option("--rebuild", help="delete the mirrors and make them again")] = False,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Bring a sweep's mirrors up to date with its ledger.

    The mirrors are its runs in MLflow and its studies in Optuna's database.
    """
    status, synced = sync_mirrors(name, store, rebuild)
    left = f"; {synced['waiting']} are still lacking: {synced['problem']}" if synced["waiting"] else ""
    say(synced, f"{name}: {synced['delivered']} configurations written{left}", as_json)
    return status


def sync_mirrors(
    name: str, folder: str | None, rebuild: bool = False, patience: float = PATIENCE_SECONDS
) -> tuple[int, dict[str, Any]]:
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
                lacking = max(lacking, mirrors.wait(patience, interrupt.check, say))
            except Interrupted as signal:
                status = signal.exit_status
                print(f"Interrupted. To continue: {typed('sync', name, store=folder)}", file=sys.stderr)
            left = mirrors.close(0.5)
    document = {"name": name, "delivered": lacking - left.waiting, "waiting": left.waiting, "problem": left.problem}
    return status or int(left.waiting > 0), document
