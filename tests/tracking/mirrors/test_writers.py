"""One process writes a mirror: a driver waits for its turn in the background, and nothing is written twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.tracking.mirrors.conftest import Made, in_mlflow, in_optuna, mirrored
from tracking.ledger import Ledger
from tracking.locks import mirror_lock
from tracking.mirrors.follower import MIRRORS, Lag, Mirrors, written_by
from tracking.mirrors.mlflow import MlflowMirror
from tracking.store import Store


@contextmanager
def writing(store: Store) -> Iterator[None]:
    """Another process writes both mirrors."""
    with ExitStack() as held:
        for mirror in MIRRORS:
            file = store.mirror_lock_file("sweep", mirror)
            assert held.enter_context(mirror_lock(store.ledger_url, "sweep", mirror, file))()
        yield


def test_a_driver_waits_for_who_writes_and_then_writes_itself(store: Store, made: Made) -> None:
    made("complete", "failed", status="finished")
    left: list[int] = []
    with writing(store):
        mirrors = Mirrors(store, "sweep")
        assert mirrors.start() == 3
        mirrors.wait(0.2, lambda: None, left.append)
        mirrors.wait(600, lambda: None, left.append, seconds=0.2)
        assert mirrors.waiting() == 3 and not store.outgoing("sweep").exists()
    assert mirrors.close(60) == Lag(0, None)
    assert written_by(store, "sweep") is None
    once = in_mlflow(store), in_optuna(store)
    assert mirrored(store, rebuild=True) == Lag(0, None)
    assert (in_mlflow(store), in_optuna(store)) == once


def test_who_ends_meanwhile_has_written_nothing(store: Store, made: Made, ledger: Ledger) -> None:
    sweep = made("complete", status="finished")
    with writing(store):
        mirrors = Mirrors(store, "sweep")
        mirrors.start(rebuild=True)
        assert mirrors.close(0) == Lag(2, "there was no time left")
    assert ledger.taken(sweep, "mlflow") == {}


def test_what_was_refused_is_tried_again_by_the_next(store: Store, made: Made, ledger: Ledger) -> None:
    sweep = made("complete", status="finished")
    assert mirrored(store) == Lag(0, None)
    (taken,) = ledger.taken(sweep, "mlflow", [0]).values()
    ledger.take(sweep, "mlflow", [replace(taken, ended=False, problem="no")])
    assert mirrored(store) == Lag(0, None)


@pytest.mark.parametrize("moment", ["late", "stopped"])
def test_a_round_ends_after_the_configuration_that_it_is_at(
    store: Store, made: Made, ledger: Ledger, maker: Any, until: Callable[..., None], moment: str
) -> None:
    """A server without time would keep a stop waiting for all eight."""
    sweep = made(*["complete"] * 4)
    mirror, asked = MlflowMirror(store, ledger), []

    def late() -> bool:
        asked.append(1)
        if moment == "stopped":
            ledger.finish(sweep, "killed", "", trained=True)
        return moment == "late"

    assert mirror.round(ledger.sweep("sweep"), False, late)  # the sweep itself
    assert mirror.round(ledger.sweep("sweep"), False, late) and len(asked) == 1
    assert [number for number, t in sorted(ledger.taken(sweep, "mlflow").items()) if t.ended] == [0]
    assert not any(t.attempted for number, t in ledger.taken(sweep, "mlflow").items() if number > 0)
    while mirror.round(ledger.sweep("sweep"), False):
        pass
    mirror.close()
    assert mirrored(store) == Lag(0, None)
