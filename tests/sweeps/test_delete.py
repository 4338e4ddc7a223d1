"""`gradsweep delete`: nothing of the sweep is left, nothing else is touched, and what was interrupted is finished."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

import sweeps
from sweeps.cli import _status
from sweeps.driver import marks
from sweeps.driver.deletion import delete
from sweeps.targets.target import target_at
from tests.tracking.conftest import Maker
from tracking import ledger as tables
from tracking.ledger import Ledger
from tracking.locks import driver_lock
from tracking.mirrors.client import MlflowClient, ViewType
from tracking.mirrors.follower import Mirrors, refuse_foreign
from tracking.store import Address, Store
from tracking.types import Sweep
from trainers.errors import SearchError

SPEC = "name: {name}\nbase: {{data: digits}}\narms: {{plain: {{}}, paper: {{alpha: 2.0}}}}\n"


def written(store: Store, name: str, *, deliver: bool = True) -> Sweep:
    """A finished sweep of two configurations, in the ledger and in its mirrors, with every kind of file."""
    ledger, maker = Ledger.create(store.ledger_url), Maker()
    sweep = ledger.begin(Sweep(name, SPEC.format(name=name)))
    for number in range(2):
        maker.configuration(ledger, sweep, number)
    ledger.finish(sweep, "finished", "Done.", trained=True)
    ledger.close()
    marks.claim(store, sweep)
    files = [store.states(name) / "p00000-3f2a91.npz.1", store.kept(name) / "0.npz"]
    files.append(store.report(name) / "figures" / "a.svg")
    for file in (*files, store.folder / "logs" / f"{name}.log"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    if deliver:
        mirrors = Mirrors(store, name)
        mirrors.start()
        assert mirrors.close(60).waiting == 0
    return sweep


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with two sweeps; MLflow takes seconds to make its tables."""
    store = Store.at(tmp_path_factory.mktemp("made") / "store").create()
    for name in ("gone", "stays"):
        written(store, name)
    return store


@pytest.fixture
def store(made: Store) -> Iterator[Store]:
    """The same store, in which `gone` is there again."""
    if "gone" not in names(made):
        written(made, "gone")
    yield made


def names(store: Store) -> list[str]:
    ledger = Ledger.create(store.ledger_url)
    try:
        return [sweep.name for sweep in ledger.sweeps()]
    finally:
        ledger.close()


def rows(store: Store) -> dict[str, int]:
    engine = sa.create_engine(store.ledger_url)
    with engine.connect() as db:
        counts = {
            t.name: db.scalar(sa.select(sa.func.count()).select_from(t)) or 0 for t in tables._tables.sorted_tables
        }
    engine.dispose()
    return counts


def experiments(store: Store) -> dict[str, str]:
    client: Any = MlflowClient(store.mlflow_uri, registry_uri=store.mlflow_uri)
    return {e.name: e.lifecycle_stage for e in client.search_experiments(ViewType.ALL) if e.name != "Default"}


def of(store: Store, name: str) -> list[str]:
    """The files that have to do with a sweep."""
    files = (str(file.relative_to(store.folder)) for file in store.folder.rglob("*"))
    return sorted(file for file in files if f"/{name}" in file and not file.startswith("locks/"))


def everything_of(store: Store, name: str) -> Any:
    client: Any = MlflowClient(store.mlflow_uri, registry_uri=store.mlflow_uri)
    runs = client.search_runs([client.get_experiment_by_name(name).experiment_id])
    trials = optuna.load_study(study_name=name, storage=store.optuna_url).trials
    return of(store, name), sorted((run.info.run_name, run.info.status, run.data.metrics) for run in runs), trials


def test_nothing_is_left_and_the_name_is_free(store: Store) -> None:
    before, other = rows(store), everything_of(store, "stays")
    deleted = delete("gone", store)
    assert (deleted.gone, deleted.left) == (True, ())
    assert deleted.deleted == (
        "MLflow: gone",
        "Optuna's database: gone",
        "the records of 2 configurations, and its files",
    )
    assert names(store) == ["stays"] and of(store, "gone") == []
    assert everything_of(store, "stays") == other
    assert optuna.get_all_study_names(store.optuna_url) == ["stays"]
    assert "gone" not in experiments(store)
    lists_of_metrics = "gradsweep_metrics", "gradsweep_ledger"
    assert {name: count if name in lists_of_metrics else 2 * count for name, count in rows(store).items()} == before
    with pytest.raises(SearchError, match="there is no sweep named 'gone'"):
        delete("gone", store)

    refuse_foreign(store, "gone")
    marks.refuse_foreign(store, "gone", "")
    written(store, "gone")
    assert experiments(store)["gone"] == "active"
    assert delete("gone", store).gone


class Killed(BaseException):
    """As if the process had ended here."""


STEPS: dict[str, tuple[Any, str]] = {
    "before the experiment is renamed": (MlflowClient, "rename_experiment"),
    "before the experiment is deleted": (MlflowClient, "delete_experiment"),
    "before its runs are forgotten": (Ledger, "forget"),
    "before the study is deleted": (optuna, "delete_study"),
    "before the states are deleted": (marks, "release"),
    "before the files are deleted": (Store, "files"),
    "before the records are deleted": (Ledger, "delete"),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_delete_is_finished_by_the_next(store: Store, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*STEPS[step], killed)
        with pytest.raises(Killed):
            delete("gone", store)
    assert names(store).count("gone") == 1
    assert delete("gone", store).gone
    assert names(store) == ["stays"] and of(store, "gone") == []
    assert "gone" not in experiments(store)
    assert optuna.get_all_study_names(store.optuna_url) == ["stays"]


def test_an_experiment_that_was_deleted_by_hand_gives_its_name_back(store: Store) -> None:
    client: Any = MlflowClient(store.mlflow_uri, registry_uri=store.mlflow_uri)
    client.delete_experiment(client.get_experiment_by_name("gone").experiment_id)
    assert delete("gone", store).deleted[0] == "MLflow: gone"
    assert "gone" not in experiments(store)


def test_runs_of_others_in_the_experiment_are_kept(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    client: Any = MlflowClient(store.mlflow_uri, registry_uri=store.mlflow_uri)
    experiment = client.get_experiment_by_name("gone").experiment_id
    run = client.create_run(experiment, run_name="my own").info.run_id
    artifacts = [file for file in of(store, "gone") if file.startswith("artifacts/")]
    assert _status(["delete", "gone", "--yes", "--store", str(store.folder)]) == 1
    out = capsys.readouterr().out
    assert "left the MLflow experiment 'gone' also has runs that are not the sweep's (my own): move or delete" in out
    assert "the sweep is still there" in out and "gone" in names(store)
    assert client.get_run(run).info.lifecycle_stage == "active"
    assert [file for file in of(store, "gone") if file.startswith("artifacts/")] == artifacts
    client.delete_run(run)
    assert not delete("gone", store).gone, "it could still be restored"
    client.restore_run(run)
    client.set_tag(run, "gradsweep.mark", client.get_experiment(experiment).tags["gradsweep.mark"])
    assert delete("gone", store).gone


def test_what_has_no_mark_of_the_sweep_stays(store: Store) -> None:
    ledger = Ledger.create(store.ledger_url)
    sweep = ledger.sweep("gone")
    ledger.close()
    marks.release(store, sweep, states=True)
    marks.claim(store, replace(sweep, mark="another"))
    deleted = delete("gone", store)
    assert deleted.gone and deleted.left == (str(store.states("gone")), str(store.kept("gone")))
    assert (store.states("gone") / ".gradsweep").read_text() == "another"
    marks.release(store, replace(sweep, mark="another"), states=True)


def test_a_running_one_is_refused(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with driver_lock(store.ledger_url, "gone", store.lock_file("gone")):
        assert _status(["delete", "gone", "--yes", "--store", str(store.folder)]) == 2
    assert "sweep 'gone' is already running" in (said := capsys.readouterr().err)
    assert "to stop it: gradsweep stop gone --store " in said
    assert "gone" in names(store)


def test_a_server_that_is_down_is_said_and_waited_for(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        down = Store(tmp_path / "store", mlflow=Address(f"http://127.0.0.1:{nobody.getsockname()[1]}")).create()
        written(down, "gone", deliver=False)
        deleted = delete("gone", down)
    assert not deleted.gone
    (problem,) = deleted.left
    assert problem.startswith("MLflow: ") and "\n" not in problem
    assert names(down) == ["gone"] and of(down, "gone") != []
    assert delete("gone", Store(down.folder)).gone  # whose MLflow has nothing of it
    assert of(down, "gone") == []


def test_a_bucket_is_emptied(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", checkpoints=(tmp_path / "bucket").as_uri()).create()
    written(store, "gone", deliver=False)
    (tmp_path / "bucket" / "gone" / "p00000-3f2a91").mkdir()
    (tmp_path / "bucket" / "gone" / "p00000-3f2a91" / "p00000-3f2a91.npz.1").write_text("states")
    (tmp_path / "bucket" / "theirs").write_text("theirs")
    assert delete("gone", store).gone
    assert [file.name for file in (tmp_path / "bucket").iterdir()] == ["theirs"]


def at_a_terminal(answer: str, *words: str) -> tuple[int, str]:
    """The command with this answer typed in: its exit status, and what it wrote to standard error."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sweeps.cli", *words]
    with subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        os.write(ours, f"{answer}\n".encode())
        _, said = process.communicate(timeout=300)
    os.close(ours)
    os.close(theirs)
    return process.returncode, said


def test_it_asks_first(store: Store) -> None:
    words = "delete", "gone", "--store", str(store.folder)
    status, said = at_a_terminal("n", *words)
    assert status == 1 and "Nothing was deleted." in said
    assert "Delete sweep 'gone' of 2 configurations with all its records and files, here and in MLflow? [y/N]" in said
    assert "gone" in names(store)
    assert at_a_terminal("y", *words)[0] == 0
    assert "gone" not in names(store)


def test_without_a_terminal_yes_must_be_said(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(["delete", "gone", "--store", str(store.folder)]) == 2
    assert capsys.readouterr().err == (
        "gradsweep: delete gone: nobody can be asked here whether to delete it: add --yes\n"
    )
    assert "gone" in names(store)


def test_json_and_python(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert _status(["delete", "gone", "--yes", "--json", "--store", str(store.folder)]) == 0
    assert json.loads(capsys.readouterr().out)["gone"] is True
    written(store, "gone")
    assert sweeps.delete("gone", store)["deleted"][0] == "MLflow: gone"
    with pytest.raises(SearchError, match="no sweep named 'gone'"):
        target_at(None, str(store.folder)).delete("gone")
