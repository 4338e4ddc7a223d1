"""The spool's way to MLflow: a thread of the driver that may lag behind, but forgets nothing.

    >>> delivery = Delivery(store, "alpha-r")
    >>> delivery.start()
    >>> ...                                   # the sweep writes its spool
    >>> delivery.drain(60.0)
    Delivered(waiting=0, problem=None)

While MLflow does not answer, the thread tries again, less and less often; what it refuses (no permission, a deleted
experiment) is tried once a minute, for somebody may mend it. Either is logged once. The sweep sees nothing of it. What
is not delivered when the driver ends stays in the spool, for the next one.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, wait_random_exponential

from tracking.spool import Spool
from tracking.store import Store

if TYPE_CHECKING:
    from tracking.courier import Courier
    from tracking.mlflow_api import Tracker

log = logging.getLogger("gradsweep")
POLL = 0.25  # seconds between looks at a spool in which nothing waits
REFUSED = 60.0  # seconds between tries of what MLflow refuses
_backoff = wait_random_exponential(multiplier=0.5, max=15)


@dataclass(frozen=True)
class Delivered:
    """What is left to send: how many events wait in the spool, and why, in one line, where something is wrong."""

    waiting: int
    problem: str | None


class Delivery:
    """See the module. `uri` is MLflow's tracking URI, None for the store's own database.

    No method raises for what is wrong with MLflow: it is logged once, and said by `drain`.
    """

    def __init__(self, store: Store, sweep: str, uri: str | None = None) -> None:
        self._store = store
        self._uri = uri
        self._file = store.spool_file(sweep)
        self._spool: Spool | None = None
        self._tracker: Tracker | None = None
        self._courier: Courier | None = None
        self._problem: str | None = None
        self._wake = threading.Event()
        self._deadline: float | None = None
        # A daemon: where MLflow keeps a request for longer than `drain` may take, the driver ends without it.
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)

    def start(self) -> None:
        """Start the thread. Raises SpoolError. Takes more than a second, the import of MLflow."""
        # Here, not in the thread: two threads that import side by side (this one MLflow, the driver's Ray, both
        # OpenTelemetry) can lock each other out for ever.
        import tracking.courier
        import tracking.mlflow_api  # noqa: F401

        self._spool = Spool.at(self._file)
        self._thread.start()

    def drain(self, timeout: float) -> Delivered:
        """Send what is left for at most `timeout` seconds, then end the thread. What is left stays in the spool."""
        self._deadline = time.monotonic() + timeout
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout + 1.0)
        spool = Spool.at(self._file)
        try:
            waiting = spool.waiting()
        finally:
            spool.close()
        return Delivered(waiting, self._said() if waiting else None)

    def _said(self) -> str:
        """Why something waits, in one line."""
        aside = list(self._courier.aside.values()) if self._courier else []
        more = f" (and {len(aside) - 1} more)" if len(aside) > 1 else ""
        return self._problem or (aside[0] + more if aside else "there was no time to deliver them")

    def _work(self) -> None:
        retrying = Retrying(wait=_wait, stop=self._given_up, sleep=self._pause, before_sleep=self._note, reraise=True)
        last_try = False
        try:
            while True:
                draining = self._deadline is not None
                if draining and not last_try and self._courier is not None:
                    last_try = True
                    self._courier.aside.clear()
                done = retrying(self._round, draining)
                if self._problem is not None:
                    log.info("MLflow takes the records again")
                    self._problem = None
                if draining and (not done or self._late()):
                    return
                if not done:
                    self._pause(POLL)
        except Exception as error:
            self._problem = str(error)
        finally:
            if self._tracker is not None:
                self._tracker.close()
            if self._spool is not None:
                self._spool.close()

    def _round(self, all_of_it: bool) -> bool:
        assert self._spool is not None
        if self._courier is None:
            sweep = self._spool.sweep()
            if sweep is None:
                return False
            from tracking.courier import Courier
            from tracking.mlflow_api import Tracker

            self._tracker = Tracker(self._store, self._uri)
            self._courier = Courier(self._store, self._spool, sweep, self._tracker)
        return self._courier.round(all_of_it)

    def _pause(self, seconds: float) -> None:
        if self._deadline is not None:
            seconds = max(0.0, min(seconds, self._deadline - time.monotonic()))
        # Set by `drain`: then there is one more try at once.
        if self._wake.wait(seconds):
            self._wake.clear()

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _given_up(self, state: RetryCallState) -> bool:
        return self._late() or (self._deadline is not None and state.attempt_number > 1 and _refused(state))

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if self._problem is None:
            log.warning("%s; the records wait in the spool", error)
        self._problem = str(error)


def _refused(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return type(error).__name__ == "Unmendable"


def _wait(state: RetryCallState) -> float:
    return REFUSED if _refused(state) else _backoff(state)
