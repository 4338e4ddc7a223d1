"""The mirrors of a sweep and the threads that keep them up to date: they may lag behind, but forget nothing.

    >>> mirrors = Mirrors(store, "alpha-r")
    >>> mirrors.start()                       # at once, or when a `gradsweep sync` lets go of them
    >>> ...                                   # the driver writes the ledger
    >>> mirrors.close(60.0)
    Lag(waiting=0, problem=None)

Each mirror has a thread of its own: one that is down, slow or wrong keeps neither the other nor the sweep waiting. The
thread tries again, less and less often; what a mirror refuses (no permission, a deleted experiment) is tried once a
minute, in case somebody has fixed it. Each is logged once. The ledger knows what a mirror lacks when the driver ends:
the next driver, or `gradsweep sync`, continues from there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, wait_random_exponential

from tracking.database import cause
from tracking.ledger import Ledger
from tracking.locks import mirror_lock, writer
from tracking.store import Store, without_password
from tracking.types import SWEEP, Sweep
from trainers.errors import FailedError, GradsweepError, SearchError, StoreError, Unavailable, Unmendable

if TYPE_CHECKING:
    from tracking.mirrors.mlflow import MlflowMirror
    from tracking.mirrors.optuna import OptunaMirror

log = logging.getLogger("gradsweep")
POLL = 0.25  # seconds between looks at a ledger of which nothing is lacking
REFUSED = 60.0  # seconds between tries of what a mirror refuses
SAY_SECONDS = 5.0
SHARE = 0.03  # of the time to ask what is lacking: it slows down a mirror that is at work
MIRRORS = ("mlflow", "optuna")
_backoff = wait_random_exponential(multiplier=0.5, max=15)
LOGIN = ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED")
USER = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user of its own and their password"
HOST = "add this name to MLFLOW_SERVER_ALLOWED_HOSTS where it is started"


@dataclass(frozen=True)
class Lag:
    """What the mirrors still lack: of how many configurations (and the sweep itself), and why, in one line."""

    waiting: int
    problem: str | None


class Mirrors:
    """See the module. `uri` is MLflow's tracking URI, None for the store's own.

    No method raises for a problem of a mirror: it is logged once, and `close` returns it.
    """

    def __init__(self, store: Store, sweep: str, uri: str | None = None) -> None:
        self._ledger = Ledger.create(store.ledger_url)
        self._sweep = sweep
        # Here and not in the threads: two that import at the same time what imports OpenTelemetry can lock each other
        # out for ever.
        from tracking.mirrors.mlflow import MlflowMirror
        from tracking.mirrors.optuna import OptunaMirror

        mirrors = MlflowMirror(store, self._ledger, uri), OptunaMirror(store, self._ledger)
        self._followers = [_Follower(mirror, self._ledger, store, sweep) for mirror in mirrors]

    def start(self, *, rebuild: bool = False) -> int:
        """Begin, and say what was lacking. With `rebuild` all of it is deleted and made again."""
        sweep = self._ledger.sweep(self._sweep)
        lacking = len(self._ledger.configurations(sweep)) + 1 if rebuild else self.waiting()
        for follower in self._followers:
            follower.rebuild = rebuild
            follower.start()
        return lacking

    def waiting(self) -> int:
        """Of how many configurations a mirror lacks something; the sweep itself counts as one."""
        return waiting(self._ledger, self._sweep)

    def wait(
        self, patience: float, check: Callable[[], None], say: Callable[[int], None], seconds: float = float("inf")
    ) -> int:
        """Until they have everything, or can take nothing for `patience` seconds; what they lacked at most.

        One that is slow is waited for, at most for `seconds`. `check` is called again and again, and `say` is told from
        time to time how much is left.
        """
        asked = since = told = time.monotonic()
        end = since + seconds
        before, most = -1, 0
        # A mirror that was lost lacks everything, which is known when it has been looked at.
        while (left := self.waiting()) or any(follower.fresh for follower in self._followers):
            now, most = time.monotonic(), max(most, left)
            if left != before or any(follower.at_work for follower in self._followers):
                before, since = left, now
            if now - since >= patience or now >= end:
                break
            if left and now - told > SAY_SECONDS:
                told = now
                say(left)
            check()
            time.sleep(max(0.05, (now - asked) / SHARE))
            asked = time.monotonic()
        return most

    def close(self, seconds: float) -> Lag:
        """Send what is lacking for at most that long, then end the threads."""
        deadline = time.monotonic() + seconds
        started = [follower for follower in self._followers if follower.ident is not None]
        for follower in started:
            follower.end(deadline)
        for follower in started:
            follower.join(max(0.0, deadline - time.monotonic()) + 1.0)
        left, sweep = self.waiting(), self._ledger.sweep(self._sweep)
        problems = [follower.problem for follower in self._followers if follower.problem]
        for taken in (t for mirror in MIRRORS for t in self._ledger.taken(sweep, mirror).values() if t.problem):
            what = "the sweep" if taken.number == SWEEP else f"configuration {taken.number}"
            problems.append(f"{what}: {taken.problem}")
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        problem = problems[0] + more if problems else "there was no time left"
        if not any(follower.is_alive() for follower in started):
            self._ledger.close()
        return Lag(left, problem if left else None)


class _Follower(threading.Thread):
    """The thread of one mirror, whose `round` may be called again after whatever it raises, and does no harm."""

    def __init__(self, mirror: MlflowMirror | OptunaMirror, ledger: Ledger, store: Store, sweep: str) -> None:
        super().__init__(name=f"gradsweep-{mirror.name}", daemon=True)
        self.problem = ""  # why nothing is taken, in a line
        self.fresh = True
        self.rebuild = False
        self._worked = True  # whether there was anything to do, as far as is known
        self._mirror, self._ledger, self._sweep = mirror, ledger, sweep
        lock_file = store.mirror_lock_file(sweep, mirror.name)
        self._lock = mirror_lock(store.ledger_url, sweep, mirror.name, lock_file)
        self._own: Callable[[], bool] = lambda: False
        self._wake = threading.Event()
        self._deadline, self._ending = float("inf"), False

    @property
    def at_work(self) -> bool:
        """Whether it is writing, and nothing is in its way."""
        return self._worked and not self.problem and self.is_alive()

    def end(self, deadline: float) -> None:
        """One more try at once, then as much as there is time for."""
        self._deadline = deadline
        self._wake.set()

    def run(self) -> None:
        retrying = Retrying(wait=_wait, stop=self._given_up, sleep=self._pause, reraise=True)
        with closing(self._mirror), self._lock as self._own, suppress(Exception):  # which has been noted
            while True:
                worked = self._worked = retrying(self._round)
                if self.problem:
                    log.info("%s is written again", self._mirror.title)
                    self.problem = ""
                if self._late() or (self._ending and not worked):
                    return
                if not worked:
                    self._pause(POLL)

    def _round(self) -> bool:
        if not self._own():
            self._worked = False
            return False
        self._ending = self._deadline < float("inf")
        try:
            sweep = self._ledger.sweep(self._sweep)
            if self.fresh:
                self._prepare(sweep)
            worked = self._mirror.round(sweep, self._ending, self._late)
        except Exception as error:
            self._note(error)
            raise
        self.fresh = False
        return worked

    def _prepare(self, sweep: Sweep) -> None:
        """What was refused to a former process may have been mended; with `rebuild` everything is made anew."""
        if self.rebuild:
            self._ledger.forget(sweep, self._mirror.name)
            self.rebuild = False
        refused = [t for t in self._ledger.taken(sweep, self._mirror.name).values() if t.problem]
        self._ledger.take(sweep, self._mirror.name, [replace(t, problem="") for t in refused])

    def _given_up(self, state: RetryCallState) -> bool:
        return self._late() or (self._ending and _refused(state))

    def _pause(self, seconds: float) -> None:
        # Set by `end`: then there is one more try at once.
        if self._wake.wait(max(0.0, min(seconds, self._deadline - time.monotonic()))):
            self._wake.clear()

    def _late(self) -> bool:
        return time.monotonic() >= self._deadline

    def _note(self, error: Exception) -> None:
        line = str(error) if isinstance(error, GradsweepError) else f"{self._mirror.title}: {cause(error)}"
        if not self.problem:
            what = "refuses the records" if isinstance(error, Unmendable) else "unreachable"
            log.warning("%s %s; retrying in the background: %s", self._mirror.title, what, line)
            if not isinstance(error, FailedError):
                log.debug("", exc_info=error)
        self.problem = line


def _refused(state: RetryCallState) -> bool:
    return isinstance(state.outcome.exception() if state.outcome else None, Unmendable)


def _wait(state: RetryCallState) -> float:
    return REFUSED if _refused(state) else _backoff(state)


def waiting(ledger: Ledger, name: str) -> int:
    """Of how many configurations a mirror lacks something; the sweep itself counts as one. Raises LedgerError."""
    sweep = ledger.sweep(name)
    mlflow, optuna = (ledger.pending(sweep, mirror, problems=True) for mirror in MIRRORS)
    # Optuna is told of a configuration once it and all with lower numbers have ended.
    lacking = {number for number, _ in mlflow}
    lacking |= {number for number, _ in takewhile(lambda pair: pair[1], sorted(optuna))}
    own = ledger.taken(sweep, "mlflow", [SWEEP]).get(SWEEP)
    late = own is None or own.epoch < sweep.revision or (sweep.status != "running" and not own.ended)
    return len(lacking) + late


def written_by(store: Store, name: str) -> str | None:
    """Which process writes a mirror of a sweep, as `locks.writer`; None where none does. Raises StoreError."""
    lock = store.mirror_lock_file
    writers = (writer(store.ledger_url, name, mirror, lock(name, mirror)) for mirror in MIRRORS)
    return next(filter(None, writers), None)


def refuse_foreign(store: Store, name: str, uri: str | None = None) -> None:
    """See that nobody else has this name in MLflow or Optuna: nothing of theirs would ever be written into.

    Raises SearchError. What can't be asked is no reason to refuse a sweep.
    """
    from tracking.mirrors import mlflow, optuna

    for problem in (mlflow.taken_name(store, name, uri), optuna.taken_name(store, name)):
        if problem:
            raise SearchError(problem)


def check_login(uri: str) -> None:
    """Ask an MLflow server whether it lets us in before a sweep begins: later, its records would only wait.

    Raises StoreError for what only somebody can put right: a wrong user or password, a name it does not go by. A server
    that does not answer may do so when there is something to deliver; a database is not asked.
    """
    if not uri.startswith(("http://", "https://")):
        return
    from tracking.mirrors.client import connected, settings, translated

    try:
        with settings(timeout=5), translated():
            connected(uri).search_experiments(max_results=1)
    except Unavailable:
        return
    except Unmendable as error:
        if error.code in LOGIN:
            raise StoreError(
                f"the MLflow server at {without_password(uri)} refuses this driver ({error.code}): "
                f"{HOST if 'Host header' in str(error) else USER}"
            ) from None
