"""What is written into MLflow's tables directly, on real SQLite and PostgreSQL, against what its own API writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, create_engine, text

from tests.service.servers import DATABASE_PASSWORD, Postgres
from tracking import mlflow_api, mlflow_sqlite
from tracking.delivery import Delivered, Delivery
from tracking.mlflow_postgres import PostgresWriter
from tracking.runs import RunUpdate, Series
from tracking.spool import Spool
from tracking.store import Store

MlflowClient = mlflow_api.MlflowClient
KINDS = [pytest.param("sqlite"), pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    postgres = Postgres(DATABASE_PASSWORD)
    yield postgres
    postgres.stop()


@pytest.fixture
def uri(request: pytest.FixtureRequest, store: Store) -> str:
    """A new database of the kind that the test is told."""
    if request.param == "sqlite":
        return store.mlflow_uri
    name = f"mlflow_{abs(hash(request.node.name)):x}"
    return str(request.getfixturevalue("server").create(name)).replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
def database(uri: str) -> Iterator[Engine]:
    engine = create_engine(uri)
    yield engine
    engine.dispose()


def rows(database: Engine, query: str) -> list[str]:
    with database.connect() as connection:
        return sorted(repr(tuple(row)) for row in connection.execute(text(query)))


@pytest.mark.parametrize("uri", KINDS, indirect=True)
def test_what_is_written_is_what_log_batch_writes(store: Store, uri: str, database: Engine) -> None:
    values = [[0.5, math.nan, math.inf, -math.inf, -0.0, 0.1], [1.5, 1e-320, 2.0, math.nan, 3.0, 1 / 3]]
    points = Series(("a", "b", "c", "d", "e", "f"), np.array(values), (0, 1), (1000, 2000))
    again = Series(("a", "g"), np.array([[0.5, 7.0]]), (0,), (1000,))
    tables = {}
    for way in ("direct", "api"):
        tracker = mlflow_api.Tracker(store, uri)
        assert tracker._writer is not None
        if way == "api":
            tracker.close()
            tracker._writer = None
        run, _ = tracker.create(tracker.experiment("sweep"), "x", 1, {})
        word = "it's 100% :odd {x} é\n\\N"
        for update in (
            RunUpdate(run, {"p": "1", "odd": word}, {"t": "1"}, (points,)),
            RunUpdate(run, {"p": "1"}, {"t": word}, (again,), "FAILED", 5000),
        ):
            assert tracker.write([update]) == {}
        tracker.close()
        tables[way] = [
            rows(database, f"SELECT {columns} FROM {table} WHERE run_uuid = '{run}'")
            for table, columns in {
                "metrics": "key, value, timestamp, step, is_nan",
                "latest_metrics": "key, value, timestamp, step, is_nan",
                "params": "key, value",
                "tags": "key, value",
                "runs": "name, status, start_time, end_time, lifecycle_stage",
            }.items()
        ]
    # MLflow names a run that has a name also in a tag, whichever way its metrics come.
    assert tables["direct"] == tables["api"]
    assert len(tables["direct"][0]) == 13


@pytest.mark.parametrize("uri", KINDS, indirect=True)
def test_many_runs_are_written_together_and_again(store: Store, uri: str, database: Engine) -> None:
    tracker = mlflow_api.Tracker(store, uri)
    experiment = tracker.experiment("sweep")
    runs = [tracker.create(experiment, f"x{i}", 1, {})[0] for i in range(3)]
    points = Series(("a", "b"), np.arange(6.0).reshape(3, 2), (0, 1, 2), (10, 20, 30))
    updates = [RunUpdate(run, {"p": run}, {"t": run}, (points,), "FINISHED", 40) for run in runs]
    assert tracker.write(updates) == {}
    first = [rows(database, f"SELECT * FROM {table}") for table in ("metrics", "latest_metrics", "params", "tags")]
    assert [len(found) for found in first[:3]] == [18, 6, 3]
    assert tracker.write(updates) == {}
    # What comes late, of an earlier step, is not the latest.
    assert tracker.write([RunUpdate(runs[0], series=(Series(("a",), np.array([[9.0]]), (1,), (20,)),))]) == {}
    second = [rows(database, f"SELECT * FROM {table}") for table in ("metrics", "latest_metrics", "params", "tags")]
    assert second[1:] == first[1:] and len(second[0]) == 19
    tracker.close()


@pytest.mark.parametrize("uri", KINDS, indirect=True)
def test_a_deleted_run_is_named_and_the_others_are_written(store: Store, uri: str, database: Engine) -> None:
    tracker = mlflow_api.Tracker(store, uri)
    experiment = tracker.experiment("sweep")
    gone, there = (tracker.create(experiment, name, 1, {})[0] for name in ("gone", "there"))
    tracker.delete(gone)
    points = Series(("a",), np.array([[1.0]]), (0,), (10,))
    wrong = tracker.write([RunUpdate(run, series=(points,)) for run in (gone, there, "never")])
    assert wrong == {gone: "the run was deleted", "never": "the run was deleted"}
    assert rows(database, "SELECT run_uuid FROM metrics") == [repr((there,))]
    tracker.close()


@pytest.mark.postgres
@pytest.mark.parametrize("uri", ["postgres"], indirect=True)
def test_a_sweep_on_postgres_comes_back_as_it_was(store: Store, spool: Spool, maker: Any, uri: str) -> None:
    maker.begin(spool)
    for number, state in enumerate(("complete", "pruned", "diverged", "failed")):
        maker.configuration(spool, number, state)
    spool.finish("FINISHED", "")
    delivery = Delivery(store, "sweep", uri)
    delivery.start()
    assert delivery.drain(60) == Delivered(0, None)
    client = MlflowClient(uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("sweep")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == {
        "sweep": "FINISHED",
        "plain": "FINISHED",
        "paper": "FINISHED",
        "alpha=3": "FAILED",
        "alpha=4": "FAILED",
    }
    history = client.get_metric_history(runs["plain"].info.run_id, "train.loss/q25")
    assert [(m.step, m.timestamp) for m in history] == [(e.epoch, e.at) for e in spool.epochs(0)]


@pytest.mark.parametrize("uri", KINDS, indirect=True)
def test_another_mlflows_tables_are_left_to_its_api(store: Store, uri: str, database: Engine) -> None:
    mlflow_api.Tracker(store, uri).close()
    with database.begin() as connection:
        connection.execute(text("ALTER TABLE runs RENAME COLUMN end_time TO ended"))
    if uri.startswith("sqlite"):
        assert mlflow_sqlite.SqliteWriter.opened(store.mlflow_db) is None
    else:
        assert PostgresWriter.opened(uri) is None


def test_a_database_that_does_not_answer_is_said_in_one_line(store: Store, tmp_path: Path) -> None:
    with pytest.raises(mlflow_api.Unavailable) as raised:
        mlflow_api.Tracker(store, f"postgresql+psycopg://ann:secret@/mlflow?host={tmp_path}")
    assert "\n" not in str(raised.value) and "secret" not in str(raised.value)
