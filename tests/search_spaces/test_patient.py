"""A storage whose server goes away in the middle of a request: asked again, and nothing is done twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import psycopg
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import OperationalError

from search_spaces import patient
from search_spaces.patient import DatabaseError, PatientStorage

# As psycopg says it: no code, for there was no server to give one.
Gone = psycopg.OperationalError
# The server's own no: it was there.
Refused = psycopg.errors.DiskFull


def lost(kind: type[Exception] = Gone) -> StorageInternalError:
    error = StorageInternalError("during the commit")
    error.__cause__ = OperationalError("SELECT 1", {}, kind("server closed the connection"))
    return error


class Failing:
    """Raises once, before or after the request has been done."""

    def __init__(self, storage: InMemoryStorage, after: bool, error: Callable[[], Exception] = lost) -> None:
        self._storage, self._after, self._error, self.calls = storage, after, error, 0

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._storage, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            self.calls += 1
            if self.calls > 1:
                return asked(*arguments, **keywords)
            if self._after:
                asked(*arguments, **keywords)
            raise self._error()

        return call


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "wait_random_exponential", lambda **_: lambda state: 0.0)


@pytest.fixture
def storage() -> Iterator[InMemoryStorage]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = InMemoryStorage()
    made.create_new_study([StudyDirection.MAXIMIZE], "sweep")
    yield made


@pytest.mark.parametrize("after", [False, True])
def test_a_trial_is_created_once(storage: InMemoryStorage, after: bool) -> None:
    backs: list[int] = []
    asked = PatientStorage(Failing(storage, after), lambda: backs.append(1))  # type: ignore[arg-type]
    template = create_trial(state=TrialState.RUNNING, user_attrs={"asked": {"pack": "p0", "known": 0}})
    # A pack may have two that are the same but for their numbers.
    storage.create_new_trial(0, template)
    template.number = 1
    number = asked.create_new_trial(0, template)
    assert [t._trial_id for t in storage.get_all_trials(0)] == [0, number]
    assert backs == [1]


@pytest.mark.parametrize("after", [False, True])
def test_a_trial_ends_once(storage: InMemoryStorage, after: bool) -> None:
    number = storage.create_new_trial(0)
    asked = PatientStorage(Failing(storage, after), lambda: None)  # type: ignore[arg-type]
    assert asked.set_trial_state_values(number, TrialState.COMPLETE, [0.5])
    assert storage.get_trial(number).values == [0.5]


@pytest.mark.parametrize("after", [False, True])
def test_anything_else_is_asked_again(storage: InMemoryStorage, after: bool) -> None:
    asked = PatientStorage(Failing(storage, after), lambda: None)  # type: ignore[arg-type]
    asked.set_study_user_attr(0, "a", 1)
    assert asked.get_study_user_attrs(0) == {"a": 1}


def test_what_the_server_refuses_is_not_asked_again(storage: InMemoryStorage) -> None:
    failing = Failing(storage, False, lambda: lost(Refused))
    with pytest.raises(DatabaseError, match="^can't use the sweep's database: server closed the connection$"):
        PatientStorage(failing, lambda: None).get_all_trials(0)  # type: ignore[arg-type]
    assert failing.calls == 1


def test_a_full_disk_is_one_line_and_not_asked_again(storage: InMemoryStorage) -> None:
    def full() -> StorageInternalError:
        error = StorageInternalError("This typically happens due to invalid data in the commit")
        error.__cause__ = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
        return error

    failing = Failing(storage, False, full)
    with pytest.raises(DatabaseError, match="^can't use the sweep's database: database or disk is full$"):
        PatientStorage(failing, lambda: None).get_all_trials(0)  # type: ignore[arg-type]
    assert failing.calls == 1


def test_one_that_somebody_else_has_ended_is_an_error(storage: InMemoryStorage) -> None:
    number = storage.create_new_trial(0)
    storage.set_trial_state_values(number, TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        PatientStorage(storage, lambda: None).set_trial_state_values(number, TrialState.COMPLETE, [0.5])


def test_patience_has_an_end(storage: InMemoryStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(DatabaseError):
        PatientStorage(Failing(storage, False), lambda: None).get_all_trials(0)  # type: ignore[arg-type]
