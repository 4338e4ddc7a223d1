"""`gradsweep sync`: one sweep or all, never in a driver's way, and cheap where nothing is lacking."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeps.cli import main
from sweeps.commands import sync as command
from sweeps.commands.sync import sync_mirrors
from tests.service.cluster import free_port
from tests.service.command import until
from tests.tracking.conftest import Maker
from tests.tracking.mirrors.test_server import refusing
from tracking.ledger import Ledger
from tracking.locks import driver_lock, mirror_lock
from tracking.mirrors.follower import MIRRORS, Lag, Mirrors, written_by
from tracking.store import Store
from tracking.types import SWEEP, Sweep, Taken

SPEC = "name: {name}\nbase: {{data: digits}}\narms: {{plain: {{}}}}\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With three sweeps that MLflow and Optuna know nothing of."""
    store = Store.at(tmp_path / "store").create()
    with closing(Ledger.create(store.ledger_url)) as ledger:
        for name in ("one", "two", "three"):
            sweep = ledger.begin(Sweep(name, SPEC.format(name=name)))
            Maker().configuration(ledger, sweep, 0)
            ledger.finish(sweep, "finished", "Done.", trained=True)
    return store


@pytest.fixture
def gradsweep(store: Store, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The exit status, standard output and standard error of a command on the store."""

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--store", str(store.folder)])
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


def lacking(store: Store) -> list[str]:
    with closing(Ledger.create(store.ledger_url)) as ledger:
        return ledger.undelivered()


Run = Callable[..., tuple[int, str, str]]


def test_all_has_a_line_per_sweep_and_passes_over_those_that_are_busy(store: Store, gradsweep: Run) -> None:
    locks = store.mirror_lock_file("three", "optuna")
    with (
        driver_lock(store.ledger_url, "two", store.lock_file("two")),
        mirror_lock(store.ledger_url, "three", "optuna", locks) as own,
    ):
        assert own()
        status, out, _ = gradsweep("sync", "--all")
    one, two, three = out.splitlines()
    assert (status, one) == (0, "one: 2 configurations written")
    assert two.startswith("two: 0 configurations written; 2 are still lacking: sweep 'two' is already running (process")
    assert three.startswith("three: 0 ") and "mirrors of sweep 'three' are being written already (process" in three
    assert lacking(store) == ["two", "three"]
    status, out, _ = gradsweep("sync", "--all", "--json")
    synced = [(sweep["name"], sweep["delivered"], sweep["waiting"]) for sweep in json.loads(out)]
    assert (status, synced) == (0, [("two", 2, 0), ("three", 2, 0)])
    assert gradsweep("sync", "--all")[:2] == (0, "nothing to deliver\n")
    assert gradsweep("sync", "--all", "--json")[:2] == (0, "[]\n")


def respecify(store: Store, uri: str) -> None:
    """Its records go to this MLflow server."""
    with closing(Ledger.create(store.ledger_url)) as ledger:
        text = SPEC.format(name="one") + f"tracking: {{uri: '{uri}'}}\n"
        ledger.respecify(ledger.sweep("one"), Sweep("one", text))


def test_one_that_cannot_be_delivered_keeps_no_other(store: Store, gradsweep: Run) -> None:
    with refusing(401) as uri:
        respecify(store, uri)
        status, out, _ = gradsweep("sync", "--all")
    one, *others = out.splitlines()
    assert status == 1 and one.startswith("one: 0 configurations written; 2 are still lacking: the MLflow server at ")
    assert others == ["two: 2 configurations written", "three: 2 configurations written"]


def test_a_driver_that_comes_is_let_in_at_once_and_given_way_to(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its MLflow answers nobody, so `sync` would wait for as long as its patience."""
    respecify(store, f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(command, "LOOK_SECONDS", 0.0)
    ended: list[tuple[int, dict[str, Any]]] = []
    syncing = threading.Thread(target=lambda: ended.append(sync_mirrors("one", str(store.folder), patience=600)))
    syncing.start()
    until(lambda: written_by(store, "one") is not None)
    with driver_lock(store.ledger_url, "one", store.lock_file("one")):
        syncing.join()
        for mirror in MIRRORS:  # the driver's own can go on
            file = store.mirror_lock_file("one", mirror)
            with mirror_lock(store.ledger_url, "one", mirror, file) as own:
                until(own)
    ((status, synced),) = ended
    assert status == 0 and synced["waiting"] > 0 and "'one' is already running" in synced["problem"]


def test_what_a_driver_has_begun_when_all_is_delivered_is_no_failure(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Mirrors.close
    with ExitStack() as held:

        def closed(mirrors: Mirrors, seconds: float) -> Lag:
            held.enter_context(driver_lock(store.ledger_url, "one", store.lock_file("one")))
            return replace(close(mirrors, seconds), waiting=8)

        monkeypatch.setattr(Mirrors, "close", closed)
        status, synced = sync_mirrors("one", str(store.folder))
    assert status == 0 and synced["problem"].startswith("sweep 'one' is already running")


def test_a_delete_leaves_what_a_sync_is_writing(store: Store, gradsweep: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.driver.deletion.SYNC_SECONDS", 0.3)
    file = store.mirror_lock_file("one", "mlflow")
    with mirror_lock(store.ledger_url, "one", "mlflow", file) as own:
        assert own()
        status, out, _ = gradsweep("delete", "one", "--yes")
    assert status == 1 and "MLflow: another gradsweep is still writing there" in out
    assert gradsweep("delete", "one", "--yes")[0] == 0
    assert lacking(store) == ["two", "three"]


@pytest.mark.parametrize("words", [[], ["one", "--all"], ["--all", "--rebuild"]])
def test_it_needs_one_sweep_or_all(store: Store, gradsweep: Run, words: list[str]) -> None:
    status, out, problem = gradsweep("sync", *words)
    assert (status, out) == (2, "") and "sync needs a sweep's NAME" in problem
    assert len(lacking(store)) == 3


IMPORTS = """
import sys
from sweeps.cli import _status
assert _status(["sync", "--all", "--store", sys.argv[1]]) == 0
print(*sorted({"mlflow", "optuna", "torch", "ray", "pandas"} & set(sys.modules)))
"""


@pytest.mark.parametrize("sweeps", [0, 3])
def test_nothing_to_do_imports_nothing_heavy(store: Store, tmp_path: Path, sweeps: int) -> None:
    folder = store.folder if sweeps else tmp_path / "none yet"
    with closing(Ledger.create(store.ledger_url)) as ledger:
        for sweep in ledger.sweeps():
            taken = [Taken(0, attempted=True, epoch=2, ended=True), Taken(SWEEP, epoch=sweep.revision, ended=True)]
            ledger.take(sweep, "mlflow", taken)
            ledger.take(sweep, "optuna", taken[:1])
    words = [sys.executable, "-c", IMPORTS, str(folder)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert ran.stdout == "nothing to deliver\n\n"
