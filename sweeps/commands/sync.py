"""The command `sync`: make the mirrors what the ledger says, now that they answer again."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from sweeps.commands import Json, Store, a_name, app, say, typed
from sweeps.driver.signals import Interrupt, Interrupted
from trainers.errors import FAILED, GradsweepError, RequestError, SearchError, StoreError

if TYPE_CHECKING:
    from tracking import store as stores

PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 1.0  # between looks whether a driver has come


@app.command()
def sync(
    name: Annotated[
        str | None, Argument(metavar="[NAME]", help="the sweep's name", callback=lambda name: name and a_name(name))
    ] = None,
    every: Annotated[bool, Option("--all", help="every sweep that lacks something and has no driver")] = False,
    rebuild: Annotated[bool, Option("--rebuild", help="delete the mirrors of NAME and make them again")] = False,
    store: Store = None,
    as_json: Json = False,
) -> int:
    """Bring a sweep's mirrors up to date with its ledger, or those of every sweep.

    The mirrors are its runs in MLflow and its studies in Optuna's database. A driver that starts meanwhile takes over.
    """
    if (name is None) != every or (every and rebuild):
        raise RequestError("sync needs a sweep's NAME, with or without --rebuild, or --all")
    if name is not None:
        status, synced = sync_mirrors(name, store, rebuild)
        say(synced, _line(synced), as_json)
        return status
    worst, documents = 0, []
    for status, synced in sync_all(store):
        worst = max(worst, status)
        documents.append(synced)
        if not as_json:
            print(_line(synced), flush=True)
    if as_json or not documents:
        say(documents, "nothing to deliver", as_json)
    return worst


def sync_mirrors(
    name: str, folder: str | None, rebuild: bool = False, patience: float = PATIENCE_SECONDS
) -> tuple[int, dict[str, Any]]:
    """Write until nothing is lacking, or nothing is taken for a while: the exit status, and what became of it.

    To do it again changes nothing. With `rebuild` this sweep's runs and studies are deleted first, and made anew. It
    gives way to a driver that starts meanwhile, with status 0. Raises SearchError for no such sweep and for one whose
    mirrors another process writes; StoreError where MLflow's server refuses us.
    """
    from sweeps.driver.status import stored_spec
    from sweeps.store_file import open_store
    from tracking.locks import refuse_running
    from tracking.mirrors.follower import Mirrors, check_login

    store, looked, status, handed_over = open_store(folder), time.monotonic(), 0, ""
    with Interrupt() as interrupt:
        uri = stored_spec(name, store).tracking.uri
        if problem := _busy(name, store):
            raise SearchError(problem)
        check_login(uri or store.mlflow_uri)

        def progress(waiting: int) -> None:
            print(f"{name}: {waiting} configurations left", file=sys.stderr, flush=True)

        def check() -> None:
            nonlocal looked
            interrupt.check()
            if time.monotonic() - looked >= LOOK_SECONDS:
                with suppress(StoreError):  # its server is away for a moment
                    refuse_running(store.ledger_url, name, store.lock_file(name))
                looked = time.monotonic()

        mirrors = Mirrors(store, name, uri)
        lacking = mirrors.start(rebuild=rebuild)
        try:
            lacking = max(lacking, mirrors.wait(patience, check, progress))
        except Interrupted as signal:
            status = signal.exit_status
            print(f"Interrupted. To continue: {typed('sync', name, store=folder)}", file=sys.stderr)
        except SearchError as came:
            handed_over = str(came)
        left = mirrors.close(0.5)
        if left.waiting and not handed_over:  # what a driver has just begun
            handed_over = _driver(name, store)
    why, delivered = handed_over or left.problem, max(0, lacking - left.waiting)
    document = {"name": name, "delivered": delivered, "waiting": left.waiting, "problem": why}
    return status or int(left.waiting > 0 and not handed_over), document


def sync_all(folder: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """`sync_mirrors` for every sweep that lacks something, the oldest first.

    One that a driver or another `sync` writes is passed over, with status 0; one that can't be brought up to date does
    not keep the others. Where nothing is lacking this costs one query, and no import of MLflow.
    """
    from sweeps.store_file import open_store
    from tracking.ledger import Ledger
    from tracking.mirrors.follower import waiting

    store = open_store(folder)
    if (ledger := Ledger.open(store.ledger_url)) is None:
        return
    try:
        for name in ledger.undelivered():
            status, problem = 0, _busy(name, store)
            try:
                if not problem:
                    yield (ended := sync_mirrors(name, folder))
                    if ended[0] > FAILED:  # interrupted
                        return
            except GradsweepError as error:
                status, problem = FAILED, str(error)
            if problem:
                yield status, {"name": name, "delivered": 0, "waiting": waiting(ledger, name), "problem": problem}
    finally:
        ledger.close()


def _line(synced: dict[str, Any]) -> str:
    left = f"; {synced['waiting']} are still lacking: {synced['problem']}" if synced["waiting"] else ""
    return f"{synced['name']}: {synced['delivered']} configurations written{left}"


def _busy(name: str, store: stores.Store) -> str:
    """Which process writes a sweep's mirrors, in a sentence; "" where none does."""
    from tracking.mirrors.follower import written_by

    if driver := _driver(name, store):
        return driver
    other = written_by(store, name)
    return f"the mirrors of sweep {name!r} are being written already ({other})" if other else ""


def _driver(name: str, store: stores.Store) -> str:
    """Which process runs a sweep, in a sentence; "" where none does."""
    from tracking.locks import refuse_running

    try:
        refuse_running(store.ledger_url, name, store.lock_file(name))
    except SearchError as running:
        return str(running)
    return ""
