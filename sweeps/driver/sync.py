"""What waits in a sweep's spool, to MLflow: after a sweep that ended while MLflow was away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from sweeps.driver.lock import Locked, driver_lock
from sweeps.driver.orphans import must_be_here
from sweeps.driver.signals import Interrupt, Interrupted
from sweeps.driver.status import opened
from sweeps.spec.reading import parse
from tracking.delivery import Delivery
from tracking.login import check_login
from tracking.spool import Spool
from tracking.store import Store
from trainers.errors import RequestError

PATIENCE_SECONDS = 30.0  # MLflow may take nothing for that long
SAY_SECONDS = 5.0


@dataclass(frozen=True)
class Synced:
    """How many events waited before and wait now, and why, in one line, where any do.

    `interrupted` is the exit status of the signal that ended it, else None.
    """

    before: int
    waiting: int
    problem: str | None
    interrupted: int | None = None


def sync(name: str, store: Store, interrupt: Interrupt, say: Callable[[int], None]) -> Synced:
    """Deliver what waits; to do it again changes nothing. `say` is told from time to time how much is left.

    Raises SearchError for no such sweep, RequestError where a driver has it (which delivers its records itself) or
    its records are on another machine, StoreError where MLflow's server refuses us.
    """
    search = opened(name, store)
    try:
        must_be_here(name, store)
        uri = parse(search.attributes["spec"], name).tracking.uri
    finally:
        search.close()
    check_login(uri or store.mlflow_uri)
    try:
        with driver_lock(store.lock_file(name)):
            return _deliver(name, store, uri, interrupt, say)
    except Locked as error:
        raise RequestError(f"the sweep {name!r} has a driver, which delivers its records: {error}") from None


def _deliver(name: str, store: Store, uri: str | None, interrupt: Interrupt, say: Callable[[int], None]) -> Synced:
    with closing(Spool.at(store.spool_file(name))) as spool:
        before = least = spool.waiting()
        if not before:
            return Synced(0, 0, None)
        delivery = Delivery(store, name, uri)
        delivery.start()
        since = said = time.monotonic()
        ended = None
        try:
            while least and time.monotonic() - since < PATIENCE_SECONDS:
                interrupt.check()
                time.sleep(0.05)
                if (now := spool.waiting()) < least:
                    least, since = now, time.monotonic()
                if time.monotonic() - said > SAY_SECONDS:
                    said = time.monotonic()
                    say(least)
        except Interrupted as signal:
            ended = signal.exit_status
        finally:
            left = delivery.drain(0.5)
    return Synced(before, left.waiting, left.problem, ended)
