"""A database that is restarted while a sweep runs: whatever was asked of it is asked again, until it answers.

What it refuses, as a full disk, is an error of one line.

Each request of Optuna's storage is one transaction. Where the connection was lost while it was committed it may have
been done or not, so that two requests look first before they are made again: a trial is not created twice, and one
that has its final state keeps it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import psycopg
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from trainers.errors import LedgerError

log = logging.getLogger("gradsweep")

PATIENCE_SECONDS = 600.0


class DatabaseError(LedgerError):
    """The sweep's database can't be read or written: one line that says why, without a password."""


class PatientStorage:
    """What `Search` uses of a storage, of a server that may be away for a while. Its methods raise DatabaseError.

    `back` is called when it answers again, before the request that failed is made anew.
    """

    def __init__(self, storage: BaseStorage, back: Callable[[], None]) -> None:
        self._storage = storage
        self._back = back

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._storage, name)
        return lambda *arguments, **keywords: self._ask(lambda again: asked(*arguments, **keywords))

    def create_new_trial(self, study_id: int, template: FrozenTrial) -> int:
        """The id of a new trial; of the one that the attempt before has made, where it has.

        The template has the number that the trial is to get.
        """

        def create(again: bool) -> int:
            trials = self._storage.get_all_trials(study_id, deepcopy=False) if again else []
            if trials and (trials[-1].number, trials[-1].user_attrs) == (template.number, template.user_attrs):
                return int(trials[-1]._trial_id)
            return self._storage.create_new_trial(study_id, template)

        return int(self._ask(create))

    def set_trial_state_values(self, trial_id: int, state: Any, values: Any = None) -> bool:
        """A trial's final state; where the attempt before has set it, that is it."""

        def set_(again: bool) -> bool:
            try:
                return self._storage.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if again:
                    return True
                raise

        return bool(self._ask(set_))

    def _ask(self, request: Callable[[bool], Any]) -> Any:
        lost = False

        def attempt() -> Any:
            if lost:
                self._back()
            return request(lost)

        def note(state: RetryCallState) -> None:
            nonlocal lost
            if not lost:
                log.warning("the database of the sweep does not answer; it is asked again")
            lost = True

        retrying = Retrying(
            retry=retry_if_exception(_connection_lost),
            wait=wait_random_exponential(multiplier=0.25, max=10),
            stop=stop_after_delay(PATIENCE_SECONDS),
            before_sleep=note,
            reraise=True,
        )
        try:
            found = retrying(attempt)
        except (StorageInternalError, SQLAlchemyError) as error:
            raise DatabaseError(f"can't use the sweep's database: {_cause(error)}") from error
        if lost:
            log.info("the database of the sweep answers again")
        return found


def _connection_lost(error: BaseException) -> bool:
    """Whether a server was not there, rather than there and of another opinion."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, DBAPIError) and (cause.connection_invalidated or _no_answer(cause.orig))


def _no_answer(error: BaseException | None) -> bool:
    # psycopg's error for a connection that can't be made, or is gone, has no code of the server's own; class 57P is
    # the server's: it is shutting down, has crashed, or is starting up.
    state = getattr(error, "sqlstate", None)
    return isinstance(error, psycopg.OperationalError) and (state is None or state.startswith(("57P", "08")))


def _cause(error: BaseException) -> str:
    """What the database said, without SQLAlchemy's and Optuna's words around it."""
    cause = error.__cause__ or error
    return " ".join(str(getattr(cause, "orig", None) or cause).split())[:300]
