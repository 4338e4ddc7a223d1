"""The mirrors of a sweep and the threads that keep them up to date: they may lag behind, but forget nothing.

    >>> mirrors = Mirrors(store, "alpha-r")
    >>> mirrors.start()
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
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, wait_random_exponential

from tracking.ledger import Ledger, cause
from tracking.store import Store
from tracking.types import SWEEP
from trainers.errors import FailedError, GradsweepError, SearchError, Unmendable

if TYPE_CHECKING:
    from tracking.mirrors.mlflow import MlflowMirror
    from tracking.mirrors.optuna import OptunaMirror

log = logging.getLogger("gradsweep")
POLL = 0.25  # seconds between looks at a ledger of which nothing is lacking
REFUSED = 60.0  # seconds between tries of what a mirror refuses
MIRRORS = ("mlflow", "optuna")
_backoff = wait_random_exponential(multiplier=0.5, max=15)


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
        self._followers = [_Follower(mirror, self._ledger, sweep) for mirror in mirrors]

    def start(self, *, rebuild: bool = False) -> None:
        """Begin; the sweep need not be in the ledger yet. With `rebuild` all of it is deleted and made again."""
        for follower in self._followers:
            follower.anew = rebuild
            follower.start()

    @property
    def ready(self) -> bool:
        """Whether each mirror has been looked at: one that was lost lacks everything."""
        return not any(follower.fresh for follower in self._followers)

    def rest(self, seconds: float) -> None:
        """Wait until no mirror is at work, for at most that long: asking what is lacking would slow it down."""
        deadline = time.monotonic() + seconds
        for follower in self._followers:
            follower.idle.wait(max(0.0, deadline - time.monotonic()))

    def waiting(self) -> int:
        """Of how many configurations a mirror lacks something; the sweep itself counts as one."""
        return waiting(self._ledger, self._sweep) + sum(follower.anew for follower in self._followers)

    def close(self, seconds: float) -> Lag:
        """Send what is lacking for at most that long, then end the threads."""
        deadline = time.monotonic() + seconds
        started = [follower for follower in self._followers if follower.ident is not None]
        for follower in started:
            follower.end(deadline)
        for follower in started:
            follower.join(max(0.0, deadline - time.monotonic()) + 1.0)
        left = self.waiting()
        problems = [p for follower in self._followers for p in follower.problems()]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        problem = problems[0] + more if problems else "there was no time left"
        if not any(follower.is_alive() for follower in started):
            self._ledger.close()
        return Lag(left, problem if left else None)


class _Follower(threading.Thread):
    """The thread of one mirror, whose `round` may be called again after whatever it raises, and does no harm."""

    def __init__(self, mirror: MlflowMirror | OptunaMirror, ledger: Ledger, sweep: str) -> None:
        super().__init__(name=f"gradsweep-{mirror.name}", daemon=True)
        self.anew = False
        self._mirror, self._ledger, self._sweep = mirror, ledger, sweep
        self._problem: str | None = None
        self.fresh = True
        self.idle = threading.Event()
        self._wake = threading.Event()
        self._deadline: float | None = None

    def problems(self) -> list[str]:
        """Why something is lacking, a line each."""
        whole = [self._problem] if self._problem else []
        single = self._mirror.problems.items()
        return whole + [f"{'the sweep' if n == SWEEP else f'configuration {n}'}: {problem}" for n, problem in single]

    def end(self, deadline: float) -> None:
        """One more try at once, then as much as there is time for."""
        self._deadline = deadline
        self._wake.set()

    def run(self) -> None:
        retrying = Retrying(wait=_wait, stop=self._given_up, sleep=self._pause, before_sleep=self._note, reraise=True)
        try:
            while True:
                ending = self._deadline is not None
                worked = retrying(self._round, ending)
                if self._problem is not None:
                    log.info("%s is written again", self._mirror.title)
                    self._problem = None
                if ending and (not worked or self._late()):
                    return
                if not worked:
                    self.idle.set()
                    self._pause(POLL)
        except Exception as error:
            self._problem = self._line(error)
        finally:
            self.idle.set()
            self._mirror.close()

    def _round(self, everything: bool) -> bool:
        self.idle.clear()
        try:
            sweep = self._ledger.sweep(self._sweep)
        except SearchError:  # it has not begun
            return False
        if self.anew:
            self._mirror.clear(sweep)
            self._ledger.forget(sweep, self._mirror.name)
            self.anew = False
        fresh = self.fresh
        if fresh:
            # What was refused to a former process may have been mended.
            taken = self._ledger.taken(sweep, self._mirror.name).values()
            self._ledger.take(sweep, self._mirror.name, [replace(t, problem="") for t in taken if t.problem])
        worked = self._mirror.round(sweep, everything)
        if fresh:
            self.fresh = False
        return worked

    def _pause(self, seconds: float) -> None:
        if self._deadline is not None:
            seconds = max(0.0, min(seconds, self._deadline - time.monotonic()))
        # Set by `end`: then there is one more try at once.
        if self._wake.wait(seconds):
            self._wake.clear()

    def _late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _given_up(self, state: RetryCallState) -> bool:
        return self._late() or (self._deadline is not None and state.attempt_number > 1 and _refused(state))

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert error is not None
        line = self._line(error)
        if self._problem is None:
            what = "refuses the records" if _refused(state) else "unreachable"
            log.warning("%s %s; retrying in the background: %s", self._mirror.title, what, line)
            if not isinstance(error, FailedError):
                log.debug("", exc_info=error)
        self._problem = line

    def _line(self, error: BaseException) -> str:
        return str(error) if isinstance(error, GradsweepError) else f"{self._mirror.title}: {cause(error)}"


def waiting(ledger: Ledger, name: str) -> int:
    """Of how many configurations a mirror lacks something; the sweep itself counts as one. Raises LedgerError."""
    try:
        sweep = ledger.sweep(name)
    except SearchError:
        return 0
    mlflow, optuna = (ledger.pending(sweep, mirror, problems=True) for mirror in MIRRORS)
    # Optuna is told of a configuration once it and all with lower numbers have ended.
    lacking = {number for number, _ in mlflow}
    lacking |= {number for number, _ in takewhile(lambda pair: pair[1], sorted(optuna))}
    own = ledger.taken(sweep, "mlflow", [SWEEP]).get(SWEEP)
    late = own is None or own.epoch < sweep.revision or (sweep.status != "running" and not own.ended)
    return len(lacking) + late


def refuse_foreign(store: Store, name: str, uri: str | None = None) -> None:
    """See that nobody else has this name in MLflow or Optuna: nothing of theirs would ever be written into.

    Raises SearchError. What can't be asked is no reason to refuse a sweep.
    """
    from tracking.mirrors import mlflow, optuna

    for problem in (mlflow.taken_name(store, name, uri), optuna.taken_name(store, name)):
        if problem:
            raise SearchError(problem)


def _refused(state: RetryCallState) -> bool:
    return isinstance(state.outcome.exception() if state.outcome else None, Unmendable)


def _wait(state: RetryCallState) -> float:
    return REFUSED if _refused(state) else _backoff(state)
