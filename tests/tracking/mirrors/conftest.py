"""Stores whose databases are made already, and what the mirrors of a sweep hold, in a form that can be compared."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from tracking.ledger import Ledger
from tracking.mirrors.client import MlflowClient
from tracking.mirrors.follower import Lag, Mirrors
from tracking.store import Store
from tracking.types import Sweep

Made = Callable[..., Sweep]


def mirrored(store: Store, uri: str | None = None, *, rebuild: bool = False) -> Lag:
    """The mirrors are brought up to date, as by a process of its own."""
    mirrors = Mirrors(store, "sweep", uri)
    mirrors.start(rebuild=rebuild)
    return mirrors.close(60)


def client_of(store: Store, uri: str | None = None) -> Any:
    return MlflowClient(uri or store.mlflow_uri, registry_uri=uri or store.mlflow_uri)


def runs_of(store: Store, uri: str | None = None) -> dict[str, Any]:
    """Run name -> run; fails where two have the same."""
    client = client_of(store, uri)
    runs = client.search_runs([client.get_experiment_by_name("sweep").experiment_id])
    named = {run.info.run_name: run for run in runs}
    assert len(named) == len(runs)
    return named


def in_mlflow(store: Store, uri: str | None = None) -> dict[str, Any]:
    """All that MLflow has of the sweep, without the ids that it gives."""
    client, runs = client_of(store, uri), runs_of(store, uri)
    names = {run.info.run_id: name for name, run in runs.items()}
    content: dict[str, Any] = {"experiment": client.get_experiment_by_name("sweep").tags}
    for name, run in runs.items():
        tags = dict(run.data.tags)
        if "mlflow.parentRunId" in tags:
            tags["mlflow.parentRunId"] = names[tags["mlflow.parentRunId"]]
        metrics = {
            key: [(m.step, m.timestamp, repr(m.value)) for m in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        with tempfile.TemporaryDirectory() as folder:
            client.download_artifacts(run.info.run_id, "", folder)
            files = {
                str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
                for file in Path(folder).rglob("*")
                if file.is_file()
            }
        times = run.info.start_time, run.info.end_time
        content[name] = run.info.status, times, tags, run.data.params, metrics, files
    return content


def in_optuna(store: Store) -> dict[str, Any]:
    """All that Optuna's database has of the sweep, without the ids that it gives."""
    content = {}
    storage = RDBStorage(store.optuna_url)
    for name in ("sweep", "sweep (confirmed)"):
        if name in optuna.get_all_study_names(storage):
            study = optuna.load_study(study_name=name, storage=storage)
            content[name] = study.metric_names, study.directions, study.user_attrs, list(map(_trial, study.trials))
    storage.remove_session()
    storage.engine.dispose()
    return content


def _trial(t: FrozenTrial) -> tuple[Any, ...]:
    results = repr(t.values), repr(t.intermediate_values)  # there NaN is itself
    return t.number, t.state, t.params, t.distributions, t.user_attrs, results, t.datetime_start, t.datetime_complete


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose databases have their tables: MLflow takes two seconds for them."""
    store = Store.at(tmp_path_factory.mktemp("empty") / "store").create()
    ledger = Ledger.create(store.ledger_url)
    ledger.begin(Sweep("other", "name: other\n"))
    ledger.close()
    mirrors = Mirrors(store, "other")
    mirrors.start()
    mirrors.close(60)
    client = client_of(store)
    client.delete_experiment(client.get_experiment_by_name("other").experiment_id)
    optuna.delete_study(study_name="other", storage=store.optuna_url)
    return store.folder


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> Store:
    shutil.copytree(empty, tmp_path / "store")
    return Store.at(tmp_path / "store")


@pytest.fixture
def made(ledger: Ledger, maker: Any) -> Made:
    """Makes a sweep with one configuration of each state, and ends it with `status` where one is given."""

    def make(*states: str, status: str = "", **begin: Any) -> Sweep:
        sweep: Sweep = maker.begin(ledger, **begin)
        for number, state in enumerate(states):
            maker.configuration(ledger, sweep, number, state)
        if status:
            ledger.finish(sweep, status, "**Confirmed.**", trained=True)
        return ledger.sweep("sweep")

    return make
