"""Whatever call a mirror is killed at, and whatever answer is lost: afterwards it is as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.tracking.mirrors.conftest import client_of, in_mlflow, in_optuna, mirrored, runs_of
from tracking.ledger import Ledger
from tracking.mirrors import follower
from tracking.mirrors.client import MlflowClient
from tracking.mirrors.follower import Lag
from tracking.mirrors.mlflow import MlflowMirror
from tracking.mirrors.optuna import OptunaMirror
from tracking.store import Store
from trainers.errors import Unavailable

UP_TO_DATE = Lag(0, None)
MIRRORS: dict[str, Callable[[Store, Ledger], MlflowMirror | OptunaMirror]] = {
    "mlflow": MlflowMirror,
    "optuna": OptunaMirror,
}
CONTENT = {"mlflow": in_mlflow, "optuna": in_optuna}
CALLS = {
    "mlflow": [
        (Ledger, "take"),
        *((MlflowClient, name) for name in ("create_experiment", "create_run", "log_batch", "log_text")),
        *((MlflowClient, name) for name in ("set_tag", "set_terminated", "update_run")),
        (MlflowClient, "log_artifacts"),
    ],
    "optuna": [
        (Ledger, "take"),
        (optuna, "create_study"),
        *((optuna.Study, name) for name in ("add_trial", "set_user_attr", "set_metric_names")),
    ],
}


class Killed(BaseException):
    """The process is no more."""


class Calls:
    """Counts the calls that change something; at some of them (`at`: numbers, before | after) something goes wrong."""

    def __init__(self, at: tuple[range, str], error: Callable[[], BaseException], for_good: bool) -> None:
        self.number, self._at, self._error, self._for_good = 0, at, error, for_good
        self._dead = False

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*words: Any, **more: Any) -> Any:
            if self._dead:
                raise self._error()
            self.number += 1
            mine = self.number in self._at[0]
            self._dead = mine and self._for_good
            if mine and self._at[1] == "before":
                raise self._error()
            answer = call(*words, **more)
            if mine:
                raise self._error()
            return answer

        return wrapped


@contextmanager
def disturbed(kind: str, at: tuple[range, str], error: Callable[[], BaseException], for_good: bool) -> Iterator[Calls]:
    calls = Calls(at, error, for_good)
    with pytest.MonkeyPatch.context() as patch:
        for of, name in CALLS[kind]:
            patch.setattr(of, name, calls.wrap(getattr(of, name)))
        yield calls


def drive(kind: str, store: Store, at: tuple[range, str] = (range(0), ""), **disturbance: Any) -> int:
    """Bring one mirror up to date, as a process of its own would; how many calls that took."""
    ledger = Ledger.create(store.ledger_url)
    mirror = MIRRORS[kind](store, ledger)
    try:
        with disturbed(kind, at, **disturbance or {"error": Killed, "for_good": True}) as calls:
            while True:
                try:
                    if not mirror.round(ledger.sweep("sweep"), True):
                        return calls.number
                except Unavailable:  # it is tried again, as by the mirror's thread
                    continue
    finally:
        mirror.close()
        ledger.close()


@pytest.fixture(scope="module")
def template(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a ledger of two configurations that have ended and one that runs, in a sweep that was stopped."""
    from tests.tracking.conftest import Maker

    folder = tmp_path_factory.mktemp("template") / "store"
    shutil.copytree(empty, folder)
    ledger, maker = Ledger.create(Store.at(folder).ledger_url), Maker()
    sweep = maker.begin(ledger)
    for number, state in enumerate(("complete", "failed", "running")):
        maker.configuration(ledger, sweep, number, state)
    confirming = replace(maker.added(3, (100, 101)), confirms=0)
    ledger.add(sweep, [confirming])
    ledger.record(sweep, {}, [replace(confirming, state="complete", values=(0.5,), order=3)])
    ledger.record(sweep, {}, [replace(maker.added(2), state="pruned", reason="asha", order=4)])
    ledger.finish(sweep, "killed", "Interrupted.", trained=True)
    ledger.close()
    return folder


def copy(template: Path, to: Path) -> Store:
    shutil.copytree(template, to)
    return Store.at(to)


@pytest.fixture(scope="module")
def undisturbed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, int]]:
    """What the mirrors hold, and how many calls that took."""
    store = copy(template, tmp_path_factory.mktemp("undisturbed") / "store")
    calls = {kind: drive(kind, store) for kind in MIRRORS}
    return {kind: (CONTENT[kind](store), calls[kind]) for kind in MIRRORS}


def kills_everywhere(
    kind: str, template: Path, undisturbed: dict[str, tuple[Any, int]], folder: Path, most: int | None
) -> None:
    content, calls = undisturbed[kind]
    places = [(number, moment) for number in range(1, calls + 1) for moment in ("before", "after")]
    for place in places if most is None else random.Random(5).sample(places, most):
        store = copy(template, folder / f"{place[0]}-{place[1]}")
        with pytest.raises(Killed):
            drive(kind, store, (range(place[0], place[0] + 1), place[1]))
        drive(kind, store)
        assert CONTENT[kind](store) == content, place


@pytest.mark.parametrize("kind", MIRRORS)
def test_a_mirror_that_is_killed_at_some_calls(
    kind: str, template: Path, undisturbed: dict[str, tuple[Any, int]], tmp_path: Path
) -> None:
    kills_everywhere(kind, template, undisturbed, tmp_path, 3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", MIRRORS)
def test_a_mirror_that_is_killed_at_any_call(
    kind: str, template: Path, undisturbed: dict[str, tuple[Any, int]], tmp_path: Path
) -> None:
    kills_everywhere(kind, template, undisturbed, tmp_path, None)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_answers_that_are_lost(
    template: Path, undisturbed: dict[str, tuple[Any, int]], tmp_path: Path, moment: str
) -> None:
    content, _ = undisturbed["mlflow"]
    store = copy(template, tmp_path / "store")
    error = {"error": lambda: Unavailable("MLflow: the connection was closed"), "for_good": False}
    assert drive("mlflow", store, (range(2, 200, 4), moment), **error) > 20
    assert in_mlflow(store) == content


def test_what_is_made_anew_is_equal_and_all_else_is_untouched(
    template: Path, undisturbed: dict[str, tuple[Any, int]], tmp_path: Path
) -> None:
    store = copy(template, tmp_path / "store")
    assert mirrored(store) == UP_TO_DATE
    client = client_of(store)
    experiment = client.get_experiment_by_name("sweep").experiment_id
    mine = client.create_run(experiment, run_name="my own").info.run_id
    study = optuna.create_study(study_name="mine", storage=store.optuna_url)
    study.add_trial(optuna.trial.create_trial(value=1.0))
    before = {name: run.info.run_id for name, run in runs_of(store).items()}
    assert mirrored(store, rebuild=True) == UP_TO_DATE
    after = {name: run.info.run_id for name, run in runs_of(store).items()}
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] == before[name]] == ["my own"]
    client.delete_run(mine)
    assert in_mlflow(store) == undisturbed["mlflow"][0]
    assert in_optuna(store) == undisturbed["optuna"][0]
    assert len(optuna.load_study(study_name="mine", storage=store.optuna_url).trials) == 1


CONFIGURATIONS = 24
DRIVER = """
import sys, time
sys.path.insert(0, sys.argv[2])
from dataclasses import replace
from tests.tracking.conftest import Maker
from tracking.ledger import Ledger
from tracking.mirrors.follower import Mirrors
from tracking.store import Store

store, maker = Store.at(sys.argv[1]), Maker()
ledger = Ledger.create(store.ledger_url)
sweep = maker.begin(ledger)
mirrors = Mirrors(store, "sweep")
mirrors.start()
for number in range(len(ledger.configurations(sweep)), int(sys.argv[3])):
    ended = replace(maker.added(number), state="complete", values=(0.5,), order=number)
    ledger.add(sweep, [ended := replace(ended, state="running")])
    for epoch in range(3):
        ledger.record(sweep, {number: maker.epoch(number, epoch)}, [])
    ledger.record(sweep, {}, [replace(ended, state="complete")])
    time.sleep(0.05)
ledger.finish(sweep, "finished", "Done.", trained=True)
lag = mirrors.close(60)
sys.exit(f"{lag}" if lag.waiting else 0)
"""


@pytest.mark.slow
def test_a_killed_driver_is_finished_by_the_next(store: Store, until: Callable[..., None]) -> None:
    def start() -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", DRIVER, str(store.folder), str(Path.cwd()), str(CONFIGURATIONS)]
        return subprocess.Popen(words)

    def runs() -> int:
        experiment = client_of(store).get_experiment_by_name("sweep")
        return len(client_of(store).search_runs([experiment.experiment_id])) if experiment else 0

    for at_least in sorted(random.Random(7).sample(range(1, CONFIGURATIONS), 2)):
        driver = start()
        until(lambda n=at_least, d=driver: runs() >= n or d.poll() is not None)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    ledger = Ledger.create(store.ledger_url)
    sweep = ledger.sweep("sweep")
    # A driver trains again what had not ended; here it is given up.
    for c in ledger.configurations(sweep):
        if c.state == "running":
            ledger.record(sweep, {}, [replace(c, state="failed", reason="killed", order=c.number)])
    assert start().wait(120) == 0
    assert follower.waiting(ledger, "sweep") == 0
    once = in_mlflow(store), in_optuna(store)
    assert len(once[0]) == CONFIGURATIONS + 2  # the experiment and the sweep's own run
    assert mirrored(store, rebuild=True) == UP_TO_DATE
    assert (in_mlflow(store), in_optuna(store)) == once
    ledger.close()
