"""Delivery into a real SQLite store, read back through MLflow's own API."""

from __future__ import annotations

import math
import sqlite3
import stat
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tracking import mlflow_api, mlflow_sqlite
from tracking.delivery import Delivered, Delivery
from tracking.outbox import Outbox
from tracking.runs import series
from tracking.spool import SWEEP, Spool
from tracking.store import Store
from trainers.members import EpochRecord, MemberConfig

MlflowClient = mlflow_api.MlflowClient
ALL_DONE = Delivered(0, None)


def deliver(store: Store, uri: str | None = None) -> Delivered:
    delivery = Delivery(store, "sweep", uri)
    delivery.start()
    return delivery.drain(60)


def client_of(store: Store) -> Any:
    return MlflowClient(store.mlflow_uri, registry_uri=store.mlflow_uri)


def runs_of(store: Store) -> dict[str, Any]:
    """Run name -> run; fails where two have the same."""
    client = client_of(store)
    experiment = client.get_experiment_by_name("sweep")
    runs = client.search_runs([experiment.experiment_id])
    named = {run.info.run_name: run for run in runs}
    assert len(named) == len(runs)
    return named


def test_a_sweep_in_mlflow(store: Store, spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    for number, state in enumerate(("complete", "pruned", "diverged", "failed", "running")):
        maker.configuration(spool, number, state)
    spool.finish("FINISHED", "**Confirmed.**")
    assert deliver(store) == ALL_DONE

    runs = runs_of(store)
    parent = runs.pop("sweep")
    assert parent.info.status == "FINISHED"
    state = Outbox(spool).state()
    assert state is not None
    assert (parent.info.start_time, parent.info.end_time) == (state.begun, state.ended)
    assert parent.data.params == {"configurations": "3"}
    assert parent.data.tags["mlflow.note.content"] == "**Confirmed.**"
    assert parent.data.tags["mlflow.source.git.commit"] == "f00"
    assert parent.data.tags["gradsweep.version.torch"] == "2.15.0"
    assert parent.data.tags["gradsweep.data.digest"] == "abc123"
    client = client_of(store)
    spec = client.download_artifacts(parent.info.run_id, "spec.yaml")
    assert Path(spec).read_text() == "name: sweep\n"
    assert parent.info.artifact_uri.startswith((store.artifacts / "sweep").as_uri())

    expected = {
        "plain": ("FINISHED", "complete", ""),
        "paper": ("FINISHED", "pruned", "because"),
        "alpha=3": ("FAILED", "diverged", "because"),
        "alpha=4": ("FAILED", "failed", "because"),
        "alpha=5": ("RUNNING", "running", None),
    }
    assert set(runs) == set(expected)
    for number, (name, (status, ended, reason)) in enumerate(expected.items()):
        run = runs[name]
        tags = run.data.tags
        assert (run.info.status, tags["gradsweep.state"], tags.get("gradsweep.reason")) == (status, ended, reason)
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        assert tags["gradsweep.configuration"] == str(number)
        assert tags["gradsweep.arm"] == {0: "plain", 1: "paper"}.get(number, "")
        assert run.data.params["alpha"] == str(1.0 + number)
        assert run.data.params["seeds"] == "0, 1, 2"
        assert "seed" not in run.data.params


def test_the_metrics_are_means_and_quartiles_with_the_spools_timestamps(store: Store, spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    maker.configuration(spool, 3)
    assert deliver(store) == ALL_DONE
    run = runs_of(store)["alpha=4"]
    client = client_of(store)
    epochs = spool.epochs(3)
    for i, metric in enumerate(maker.metrics):
        for statistic, of in (("mean", 1.0), ("q25", 0.5), ("q75", 1.5)):
            history = client.get_metric_history(run.info.run_id, f"{metric}/{statistic}")
            assert [(m.step, m.timestamp) for m in history] == [(e.epoch, e.at) for e in epochs]
            for m, e in zip(history, epochs, strict=True):
                assert m.value == pytest.approx(0.1 + 3 + of / 7 + e.epoch / 11 + i / 13, rel=1e-14)
    assert len(run.data.metrics) == 3 * len(maker.metrics)
    artifact = client.download_artifacts(run.info.run_id, "records.parquet")
    assert pq.read_table(artifact).num_rows == 9


def test_nan_and_infinities_survive(store: Store, spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    member = MemberConfig()
    odd = {"train.loss": math.nan, "a": math.inf, "b": -math.inf, "c": -0.0}
    spool.start(0, "", "odd", [member])
    spool.add(0, [EpochRecord(member, 0, "reference", odd)])
    spool.end(0, "diverged", None, "the loss is not finite")
    assert deliver(store) == ALL_DONE
    run = runs_of(store)["odd"]
    assert math.isnan(run.data.metrics["train.loss/mean"])
    # MLflow's database has no infinity: it keeps the largest number instead.
    assert run.data.metrics["a/q25"] == sys.float_info.max
    assert run.data.metrics["b/mean"] == -sys.float_info.max
    table = pq.read_table(client_of(store).download_artifacts(run.info.run_id, "records.parquet"))
    assert math.isnan(table["train.loss"][0].as_py())
    assert (table["a"][0].as_py(), table["b"][0].as_py()) == (math.inf, -math.inf)
    assert math.copysign(1.0, table["c"][0].as_py()) == -1.0


def test_a_crash_between_creating_a_run_and_noting_it_gives_no_second_one(
    store: Store, spool: Spool, maker: Any
) -> None:
    maker.begin(spool)
    maker.configuration(spool, 0)
    maker.configuration(spool, 1, "running")
    assert deliver(store) == ALL_DONE
    before = {name: run.info.run_id for name, run in runs_of(store).items()}
    # What such a crash leaves behind: the attempts noted, neither the ids nor the deliveries.
    with spool.writing() as db:
        db.execute("UPDATE sweep SET mlflow=NULL, artifacts=NULL")
        db.execute("UPDATE configurations SET mlflow=NULL, artifacts=NULL")
        db.execute("INSERT INTO outbox VALUES (?, 'begin', 0, 1)", (SWEEP,))
        for number in (0, 1):
            db.execute("INSERT INTO outbox VALUES (?, 'start', 0, 1)", (number,))
            db.executemany("INSERT INTO outbox VALUES (?, 'epoch', ?, 1)", [(number, e) for e in range(3)])
    maker.configuration(spool, 2)
    assert deliver(store) == ALL_DONE
    after = {name: run.info.run_id for name, run in runs_of(store).items()}
    assert {name: after[name] for name in before} == before and set(after) == {*before, "alpha=3"}
    with sqlite3.connect(store.mlflow_db) as db:
        (points,) = db.execute("SELECT COUNT(*) FROM metrics").fetchone()
    db.close()
    assert points == 3 * 3 * 3 * len(maker.metrics)


def test_a_run_that_comes_into_being_late_is_put_away(store: Store, spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    maker.configuration(spool, 0)
    # A former driver asked for the run, and no answer came.
    Outbox(spool).attempt([0])
    delivery = Delivery(store, "sweep")
    delivery.start()
    end = time.monotonic() + 60
    while spool.waiting():
        assert time.monotonic() < end
        time.sleep(0.01)
    made = runs_of(store)["plain"]
    tags = {key: value for key, value in made.data.tags.items() if key.startswith("gradsweep.")}
    late = client_of(store).create_run(made.info.experiment_id, tags=tags, run_name="late")
    spool.finish("FINISHED", "Done.")
    assert delivery.drain(60) == ALL_DONE
    left = runs_of(store)
    assert set(left) == {"plain", "sweep"}
    assert left["plain"].info.run_id == made.info.run_id
    assert client_of(store).get_run(late.info.run_id).info.lifecycle_stage == "deleted"


def test_a_sweep_that_goes_on_runs_again_until_it_ends_again(store: Store, spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    maker.configuration(spool, 0)
    spool.finish("KILLED", "Interrupted.")
    assert deliver(store) == ALL_DONE
    assert runs_of(store)["sweep"].info.status == "KILLED"
    maker.begin(spool)
    assert deliver(store) == ALL_DONE
    assert runs_of(store)["sweep"].info.status == "RUNNING"
    maker.configuration(spool, 1)
    spool.finish("FINISHED", "Done.")
    assert deliver(store) == ALL_DONE
    runs = runs_of(store)
    assert set(runs) == {"sweep", "plain", "paper"}
    assert runs["sweep"].info.status == "FINISHED"
    assert runs["sweep"].data.tags["mlflow.note.content"] == "Done."


def test_a_deleted_experiment_keeps_the_records_in_the_spool(
    store: Store, spool: Spool, maker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    maker.begin(spool)
    assert deliver(store) == ALL_DONE
    client = client_of(store)
    experiment = client.get_experiment_by_name("sweep").experiment_id
    client.delete_experiment(experiment)
    maker.configuration(spool, 0)
    left = deliver(store)
    assert left.waiting == 5
    assert left.problem is not None and "'sweep' is deleted" in left.problem and "\n" not in left.problem
    assert [r.levelname for r in caplog.records if r.name == "gradsweep"] == ["WARNING"]
    client.restore_experiment(experiment)
    assert deliver(store) == ALL_DONE
    assert runs_of(store)["plain"].info.status == "FINISHED"


def test_a_deleted_run_keeps_nobody_else_waiting(store: Store, spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    maker.configuration(spool, 0, "running")
    maker.configuration(spool, 1, "running")
    assert deliver(store) == ALL_DONE
    client = client_of(store)
    run = runs_of(store)["plain"].info.run_id
    client.delete_run(run)
    for number in (0, 1):
        spool.end(number, "complete", (0.5,))
    spool.finish("FINISHED", "")
    left = deliver(store)
    assert left == Delivered(1, "configuration 0: the run was deleted")
    runs = runs_of(store)
    assert (runs["paper"].info.status, runs["sweep"].info.status) == ("FINISHED", "FINISHED")
    client.restore_run(run)
    assert deliver(store) == ALL_DONE
    assert runs_of(store)["plain"].info.status == "FINISHED"


def test_a_large_configuration_goes_in_parts(
    store: Store, spool: Spool, maker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracking.mlflow_api._MOST_ROWS", 5 * len(maker.metrics))
    maker.begin(spool)
    maker.configuration(spool, 0, epochs=5)
    maker.configuration(spool, 1)
    assert deliver(store) == ALL_DONE
    runs = runs_of(store)
    history = client_of(store).get_metric_history(runs["plain"].info.run_id, "seconds/mean")
    assert [m.step for m in history] == [0, 1, 2, 3, 4]
    assert runs["plain"].info.status == runs["paper"].info.status == "FINISHED"


def test_the_delivery_begins_before_the_sweep(store: Store, maker: Any) -> None:
    delivery = Delivery(store, "sweep")
    delivery.start()
    spool = Spool.at(store.spool_file("sweep"))
    maker.begin(spool)
    maker.configuration(spool, 0)
    spool.close()
    assert delivery.drain(60) == ALL_DONE
    assert delivery.drain(0) == ALL_DONE


def test_odd_folders_are_folders(tmp_path: Path, maker: Any) -> None:
    store = Store.at(tmp_path / "a store, 100% #1 {x} é").create()
    spool = Spool.at(store.spool_file("sweep"))
    maker.begin(spool)
    maker.configuration(spool, 0)
    spool.close()
    assert deliver(store) == ALL_DONE
    assert len(list(store.artifacts.glob("sweep/*/artifacts/records.parquet"))) == 1
    assert {f.name for f in store.folder.iterdir()} >= {"mlflow.db", "artifacts", "ray", "spool"}
    for file in store.folder.rglob("*"):
        assert not file.stat().st_mode & stat.S_IWOTH, file


def test_the_database_is_made_once(store: Store) -> None:
    both = threading.Barrier(2)

    def prepare() -> None:
        both.wait(30)
        mlflow_sqlite.prepare(store.mlflow_db, store.artifacts)

    with ThreadPoolExecutor(2) as pool:
        for made in [pool.submit(prepare) for _ in range(2)]:
            made.result()
    assert [f.name for f in store.folder.glob("mlflow.db?*")] == []
    (experiment,) = client_of(store).search_experiments()
    assert experiment.artifact_location.startswith(store.artifacts.as_uri())


def test_quartiles_are_numpys_and_infinities_keep_their_place(spool: Spool) -> None:
    columns = {
        "usual": [3.0, 1.0, 2.0, 7.0, 5.0],
        "equal infinities": [math.inf] * 5,
        "one nan": [1.0, math.nan, 2.0, 3.0, 4.0],
        "one infinity": [1.0, 2.0, 3.0, 4.0, math.inf],
    }
    members = [MemberConfig(seed=s) for s in range(5)]
    spool.start(0, "", "x", members)
    spool.add(0, [EpochRecord(m, 0, "reference", {k: v[i] for k, v in columns.items()}) for i, m in enumerate(members)])
    (found,) = series(spool.epochs(0))
    got = dict(zip(found.keys, found.values[0].tolist(), strict=True))
    assert got["usual/q25"] == np.quantile(columns["usual"], 0.25) and got["usual/mean"] == np.mean(columns["usual"])
    assert got["usual/q75"] == np.quantile(columns["usual"], 0.75)
    assert [got[f"equal infinities/{s}"] for s in ("mean", "q25", "q75")] == [math.inf] * 3
    assert all(math.isnan(got[f"one nan/{s}"]) for s in ("mean", "q25", "q75"))
    assert (got["one infinity/mean"], got["one infinity/q25"], got["one infinity/q75"]) == (math.inf, 2.0, 4.0)
