"""Updates or rebuilds the mirrors of a sweep that has no driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sweeps.driver.signals import Interrupt, Interrupted
from sweeps.driver.status import opened
from sweeps.spec.reading import parse
from tracking.locks import driver_lock
from tracking.login import check_login
from tracking.mirrors.follower import Mirrors
from tracking.store import Store

PATIENCE_SECONDS = 30.0
SAY_SECONDS = 5.0


@dataclass(frozen=True)
class Synced:
    """Of how many configurations a mirror lacked something before and lacks it now, and why, in one line.

    `interrupted` is the exit status of the signal that ended it, else None.
    """

    before: int
    waiting: int
    problem: str | None
    interrupted: int | None = None


def sync(
    name: str,
    store: Store,
    interrupt: Interrupt | None = None,
    say: Callable[[int], None] = lambda _: None,
    *,
    rebuild: bool = False,
) -> Synced:
    """Make MLflow and Optuna what the ledger says; to do it again changes nothing.

    With `rebuild` this sweep's runs and studies are deleted first, and made anew. `say` is told from time to time how
    much is left. Raises SearchError for no such sweep and for one that has a driver, which does this itself;
    StoreError where MLflow's server refuses us.
    """
    with opened(name, store) as (ledger, sweep):
        uri = parse(sweep.spec, name).tracking.uri
        configurations = len(ledger.configurations(sweep))
    check_login(uri or store.mlflow_uri)
    with driver_lock(store.ledger_url, name, store.lock_file(name)):
        mirrors = Mirrors(store, name, uri)
        before, ended = mirrors.waiting(), None
        mirrors.start(rebuild=rebuild)
        try:
            before = max(before, wait_for(mirrors, interrupt or Interrupt(), PATIENCE_SECONDS, say))
        except Interrupted as signal:
            ended = signal.exit_status
        left = mirrors.close(0.5)
    return Synced(configurations + 1 if rebuild else before, left.waiting, left.problem, ended)


def wait_for(mirrors: Mirrors, interrupt: Interrupt, patience: float, say: Callable[[int], None]) -> int:
    """Until the mirrors have everything, or have taken nothing for `patience` seconds; what they lacked at most."""
    since = told = time.monotonic()
    least, most = None, 0
    while ((now := mirrors.waiting()) or not mirrors.ready) and time.monotonic() - since < patience:
        most = max(most, now)
        if least is None or now != least:
            least, since = now, time.monotonic()
        interrupt.check()
        if now and time.monotonic() - told > SAY_SECONDS:
            told = time.monotonic()
            say(now)
        mirrors.rest(0.5)
        time.sleep(0.05)
    return most
