"""The mirror in a real SQLite database of MLflow's, read back through MLflow's own API."""

from __future__ import annotations

import math
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.tracking.mirrors.conftest import Made, client_of, in_mlflow, mirrored, runs_of
from tracking.ledger import Ledger
from tracking.mirrors import client, mlflow
from tracking.mirrors.client import MlflowClient
from tracking.mirrors.follower import Lag, refuse_foreign, waiting
from tracking.mirrors.run_data import METRICS, points
from tracking.store import Store
from tracking.types import Epoch, Taken
from trainers.errors import SearchError
from trainers.measurements import MEASUREMENTS
from trainers.metrics import names
from trainers.regimes import network

UP_TO_DATE = Lag(0, None)


def test_a_sweep_in_mlflow(store: Store, ledger: Ledger, made: Made) -> None:
    sweep = made("complete", "pruned", "diverged", "failed", "running", status="finished")
    report = store.report("sweep")
    (report / "figures").mkdir(parents=True)
    (report / "report.html").write_text("a page")
    (report / "figures" / "seeds.svg").write_text("<svg/>")
    assert mirrored(store) == UP_TO_DATE

    client, runs = client_of(store), runs_of(store)
    experiment = client.get_experiment_by_name("sweep")
    tags = {"gradsweep.sweep": "sweep", "gradsweep.mark": sweep.mark, "mlflow.note.content": "Is it?"}
    assert experiment.tags == tags
    parent = runs.pop("sweep")
    assert (parent.info.status, parent.info.start_time, parent.info.end_time) == ("FINISHED", sweep.begun, sweep.ended)
    assert parent.data.params == {"configurations": "3"}
    assert parent.data.tags["mlflow.note.content"] == "**Confirmed.**"
    assert parent.data.tags["mlflow.source.git.commit"] == "f00"
    assert parent.data.tags["gradsweep.version.torch"] == "2.15.0"
    assert parent.data.tags["gradsweep.data.digest"] == "digits=abc123"
    assert Path(client.download_artifacts(parent.info.run_id, "spec.yaml")).read_text() == "name: sweep\n"
    assert {f.path for f in client.list_artifacts(parent.info.run_id)} == {"spec.yaml", "report.html", "figures"}
    assert [f.path for f in client.list_artifacts(parent.info.run_id, "figures")] == ["figures/seeds.svg"]
    assert parent.info.artifact_uri.startswith((store.artifacts / "sweep").as_uri())

    expected = {
        "#0 plain": ("FINISHED", "complete", None),
        "#1 paper": ("KILLED", "pruned", "because"),
        "#2 alpha=3": ("FAILED", "diverged", "because"),
        "#3 alpha=4": ("FAILED", "failed", "because"),
        "#4 alpha=5": ("KILLED", "running", None),  # it never ended, but the sweep has
    }
    assert set(runs) == set(expected)
    for c, (name, (status, state, reason)) in zip(ledger.configurations(sweep), expected.items(), strict=True):
        run, tags = runs[name], runs[name].data.tags
        assert (run.info.status, tags["gradsweep.state"], tags.get("gradsweep.reason")) == (status, state, reason)
        assert (run.info.start_time, run.info.end_time) == (c.started, c.ended or sweep.ended)
        assert tags["mlflow.parentRunId"] == parent.info.run_id
        assert tags["gradsweep.configuration"] == str(c.number)
        assert tags.get("gradsweep.arm", "") == c.arm
        final = {} if state == "running" else {"state": state}
        params = {key: ", ".join(v) if key == "measure" else str(v) for key, v in c.member.items()}
        assert run.data.params == params | {"seeds": "0, 1, 2"} | final


def test_the_sweeps_own_run_has_the_objective_by_configuration(store: Store, ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    for number in range(6):
        maker.configuration(ledger, sweep, number, "running")
    ends = {0: ("complete", 0.5), 1: ("pruned", 0.9), 2: ("complete", 0.25), 4: ("complete", 0.75)}
    for number, (state, value) in ends.items():
        end = replace(maker.added(number), state=state, values=(value,), order=number)
        ledger.record(sweep, {}, [end])
    mirrored(store)

    def chart() -> dict[str, list[tuple[int, float]]]:
        client, run = client_of(store), runs_of(store)["sweep"].info.run_id
        keys = ("objective", "best so far")
        return {key: sorted((m.step, m.value) for m in client.get_metric_history(run, key)) for key in keys}

    # 4 waits for 3: the best so far is that of all with lower numbers.
    assert chart() == {"objective": [(0, 0.5), (2, 0.25)], "best so far": [(0, 0.5), (2, 0.5)]}
    ledger.record(sweep, {}, [replace(maker.added(3), state="complete", values=(0.5,), order=5)])
    mirrored(store)
    assert chart() == {
        "objective": [(0, 0.5), (2, 0.25), (3, 0.5), (4, 0.75)],
        "best so far": [(0, 0.5), (2, 0.5), (3, 0.5), (4, 0.75)],
    }


def test_the_metrics_are_over_the_seeds_with_the_ledgers_timestamps(store: Store, ledger: Ledger, made: Made) -> None:
    sweep = made("complete")
    assert mirrored(store) == UP_TO_DATE
    run, client = runs_of(store)["#0 plain"], client_of(store)
    epochs = [e for _, e in ledger.epochs(sweep, [0])]
    assert set(run.data.metrics) == {
        "accuracy/test",
        "accuracy/train",
        "accuracy/validation",
        "accuracy/validation.q25",
        "accuracy/validation.q75",
        "gradient/data.rms",
        "gradient/data.vanished",
        "loss/train",
        "loss/validation",
    }
    for key in ("accuracy/validation", "accuracy/validation.q25", "accuracy/validation.q75"):
        history = client.get_metric_history(run.info.run_id, key)
        assert [(m.step, m.timestamp) for m in history] == [(e.epoch, e.at) for e in epochs]
        of = {"5": 0.5, "n": 1.0}[key[-1]] if not key.endswith("q75") else 1.5
        for m, e in zip(history, epochs, strict=True):
            assert m.value == pytest.approx(0.1 + of / 7 + e.epoch / 11 + 3 / 13, rel=1e-14)
    records = pq.read_table(client.download_artifacts(run.info.run_id, "records.parquet"))
    assert records.num_rows == 9 and set(records["state"].to_pylist()) == {"complete"}
    layers = pq.read_table(client.download_artifacts(run.info.run_id, "layers.parquet"))
    assert layers.num_rows == 18 and set(layers["layer"].to_pylist()) == {"conv1", "output"}


def test_a_run_has_at_most_60_metrics_named_to_be_sorted() -> None:
    full = (*names(network("combined")), "saturated", "dead", "sharpness")
    keys = [key for key, _ in points(Epoch(0, "lanes", full, np.zeros((2, len(full))), 0.0))]
    assert keys == sorted(keys)
    layers = [key for key in keys if key.startswith("gradient by layer/")]
    assert len(layers) == len([n for n in full if n.startswith("layer.") and n.endswith(".gradient.data.rms")])
    assert {"units/saturated", "units/dead", "gradient/first_to_last", "loss/train"} <= set(keys)
    assert len(keys) <= 60
    deep = (*full[:24], *(f"layer.dense{i}.gradient.data.rms" for i in range(100)), "saturated", "dead")
    keys = [key for key, _ in points(Epoch(0, "lanes", deep, np.zeros((2, len(deep))), 0.0))]
    layers = [key for key in keys if key.startswith("gradient by layer/")]
    assert (len(layers), layers[0], layers[-1]) == (30, "gradient by layer/001 dense0", "gradient by layer/100 dense99")
    assert len(keys) <= 60 and layers == sorted(layers)
    learning = names(network("deep", dense=60, learn_alpha="layer", learn_slope=True))
    keys = [key for key, _ in points(Epoch(0, "lanes", learning, np.zeros((2, len(learning))), 0.0))]
    assert {"learned/alpha", "learned/slope"} <= set(keys) and len(keys) <= 60


def test_what_is_measured_has_a_point_where_it_was_measured_and_a_run_no_more_than_60_metrics(
    store: Store, ledger: Ledger, maker: Any
) -> None:
    asked = {name.replace(".", "/", 1): name for entry in MEASUREMENTS.values() for name in entry.network}
    assert set(asked) <= set(METRICS)
    every = names(network("deep", dense=60, learn_alpha="layer", learn_slope=True))
    every += tuple(name for entry in MEASUREMENTS.values() for name in entry.network)
    every += tuple(f"layer.step{k}.gradient.{of}.rms" for k in range(32) for of in ("hidden", "cell"))
    keys = [key for key, _ in points(Epoch(0, "lanes", every, np.zeros((2, len(every))), 0.0))]
    assert len(keys) <= 60 and set(asked) <= set(keys) and not [key for key in keys if " step" in key]
    sweep = maker.begin(ledger)
    ledger.add(sweep, [maker.added(0)])
    for epoch in range(3):
        usual = maker.epoch(0, epoch)
        more = tuple(asked.values()) if epoch != 1 else ()
        values = np.concatenate([usual.values, np.full((3, len(more)), 0.5)], axis=1)
        ledger.record(sweep, {0: replace(usual, names=(*usual.names, *more), values=values)}, [])
    ledger.record(sweep, {}, [replace(maker.added(0), state="complete", values=(0.5,), order=0)])
    assert mirrored(store) == UP_TO_DATE
    run, client = runs_of(store)["#0 plain"], client_of(store)
    for key in asked:
        history = client.get_metric_history(run.info.run_id, key)
        assert [(m.step, m.value) for m in history] == [(0, 0.5), (2, 0.5)]


def test_nan_and_infinities_survive(store: Store, ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    ledger.add(sweep, [maker.added(0, (0,))])
    odd = {
        "train.loss": math.nan,
        "validation.loss": math.inf,
        "test.accuracy": -math.inf,
        "train.accuracy": -0.0,
    }
    ledger.record(sweep, {0: Epoch(0, "reference", tuple(odd), np.array([list(odd.values())]), math.nan)}, [])
    end = replace(maker.added(0, (0,)), state="diverged", reason="the loss is not finite", order=0)
    ledger.record(sweep, {}, [end])
    assert mirrored(store) == UP_TO_DATE
    run = runs_of(store)["#0 plain"]
    assert math.isnan(run.data.metrics["loss/train"])
    # MLflow's database has no infinity: it keeps the largest number instead.
    assert run.data.metrics["loss/validation"] == sys.float_info.max
    assert run.data.metrics["accuracy/test"] == -sys.float_info.max
    table = pq.read_table(client_of(store).download_artifacts(run.info.run_id, "records.parquet"))
    assert math.isnan(table["train.loss"][0].as_py())
    assert (table["validation.loss"][0].as_py(), table["test.accuracy"][0].as_py()) == (math.inf, -math.inf)
    assert math.copysign(1.0, table["train.accuracy"][0].as_py()) == -1.0


def test_quartiles_are_numpys_and_infinities_keep_their_place() -> None:
    columns = {
        "usual": [3.0, 1.0, 2.0, 7.0, 5.0],
        "equal infinities": [math.inf] * 5,
        "one nan": [1.0, math.nan, 2.0, 3.0, 4.0],
        "one infinity": [1.0, 2.0, 3.0, 4.0, math.inf],
    }
    of = {}
    for name, values in columns.items():
        epoch = Epoch(0, "reference", ("validation.accuracy",), np.array(values)[:, None], 0.0)
        of[name] = [value for _, value in points(epoch)]
    usual = columns["usual"]
    assert of["usual"] == [np.mean(usual), np.quantile(usual, 0.25), np.quantile(usual, 0.75)]
    assert of["equal infinities"] == [math.inf] * 3
    assert all(map(math.isnan, of["one nan"]))
    assert of["one infinity"] == [math.inf, 2.0, 4.0]


def test_sizes_are_medians_and_accuracies_means() -> None:
    names = ("validation.accuracy", "gradient.data.rms", "gradient.data.vanished")
    values = np.array([[0.1, 1e-3, 0.0], [0.2, 2e-3, 0.0], [0.6, 1e9, 0.3]])
    of = dict(points(Epoch(0, "reference", names, values, 0.0)))
    assert (of["accuracy/validation"], of["gradient/data.rms"], of["gradient/data.vanished"]) == pytest.approx(
        (0.3, 2e-3, 0.1)
    )


def test_a_stopped_sweep_is_killed_and_goes_on(store: Store, ledger: Ledger, made: Made, maker: Any) -> None:
    sweep = made("complete", "running")
    assert mirrored(store) == UP_TO_DATE
    ledger.finish(sweep, "killed", "Interrupted.", trained=True)
    stopped = ledger.sweep("sweep")
    assert mirrored(store) == UP_TO_DATE
    runs = runs_of(store)
    for name in ("sweep", "#1 paper"):
        assert (runs[name].info.status, runs[name].info.end_time) == ("KILLED", stopped.ended)
    assert runs["#0 plain"].info.status == "FINISHED"

    maker.begin(ledger)
    assert mirrored(store) == UP_TO_DATE
    assert {runs_of(store)[name].info.status for name in ("sweep", "#1 paper")} == {"RUNNING"}
    ledger.record(sweep, {}, [replace(maker.added(1), state="complete", values=(0.5,), order=1)])
    ledger.finish(sweep, "finished", "Done.", trained=True)
    assert mirrored(store) == UP_TO_DATE
    runs = runs_of(store)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["sweep"].info.end_time == ledger.sweep("sweep").ended
    assert runs["sweep"].data.tags["mlflow.note.content"] == "Done."


def test_that_a_sweep_was_stopped_is_said_first(
    store: Store, ledger: Ledger, made: Made, maker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = made("running", "running")
    assert mirrored(store) == UP_TO_DATE
    for number in range(2, 12):
        maker.configuration(ledger, sweep, number)
    ledger.finish(sweep, "killed", "Interrupted.", trained=True)
    calls: list[tuple[str, str]] = []

    def noting(method: str) -> Callable[..., Any]:
        original = getattr(MlflowClient, method)

        def noted(self: Any, run: str, *more: Any, **rest: Any) -> Any:
            calls.append((method, run))
            return original(self, run, *more, **rest)

        return noted

    for method in ("set_terminated", "create_run", "log_batch"):
        monkeypatch.setattr(MlflowClient, method, noting(method))
    assert mirrored(store) == UP_TO_DATE
    runs = runs_of(store)
    first = [("set_terminated", runs[name].info.run_id) for name in ("sweep", "#0 plain", "#1 paper")]
    assert calls[:3] == first


@pytest.mark.parametrize(("status", "own"), [("killed", "KILLED"), ("failed", "FAILED")])
def test_nothing_is_ever_left_running_in_a_stopped_sweep(
    store: Store, ledger: Ledger, made: Made, status: str, own: str
) -> None:
    """Whenever its driver ends: MLflow had not heard of it at all."""
    made("complete", "running", "running", status=status)
    mirror = mlflow.MlflowMirror(store, ledger)
    rounds = 0
    while mirror.round(ledger.sweep("sweep"), True):
        statuses = {name: run.info.status for name, run in runs_of(store).items()}
        assert statuses.pop("sweep") == own and "RUNNING" not in statuses.values()
        rounds += 1
    mirror.close()
    assert rounds >= 3 and statuses == {"#0 plain": "FINISHED", "#1 paper": "KILLED", "#2 alpha=3": "KILLED"}


def test_a_deleted_experiment_is_named_and_waited_for(
    store: Store, ledger: Ledger, made: Made, maker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = made()
    assert mirrored(store) == UP_TO_DATE
    client = client_of(store)
    experiment = client.get_experiment_by_name("sweep").experiment_id
    client.delete_experiment(experiment)
    maker.configuration(ledger, sweep, 0)
    caplog.set_level("WARNING", "gradsweep")
    caplog.clear()
    lag = mirrored(store)
    assert lag.waiting == 1
    assert lag.problem is not None
    command = lag.problem.partition("to restore it: ")[2]
    assert command == f"MLFLOW_TRACKING_URI={store.mlflow_uri} mlflow experiments restore -x {experiment}"
    assert [r.levelname for r in caplog.records if r.name == "gradsweep"] == ["WARNING"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(command, shell=True, env=os.environ | {"PATH": path}, check=True)
    assert mirrored(store) == UP_TO_DATE
    assert runs_of(store)["#0 plain"].info.status == "FINISHED"


def test_a_deleted_run_keeps_nobody_else_waiting(store: Store, ledger: Ledger, made: Made, maker: Any) -> None:
    sweep = made("running", "running")
    assert mirrored(store) == UP_TO_DATE
    client, run = client_of(store), runs_of(store)["#0 plain"].info.run_id
    client.delete_run(run)
    for number in (0, 1):
        ledger.record(sweep, {}, [replace(maker.added(number), state="complete", values=(0.5,), order=number)])
    ledger.finish(sweep, "finished", "", trained=True)
    lag = mirrored(store)
    assert lag.waiting == 1
    assert lag.problem is not None and lag.problem.startswith("configuration 0: ") and "deleted" in lag.problem
    runs = runs_of(store)
    assert (runs["#1 paper"].info.status, runs["sweep"].info.status) == ("FINISHED", "FINISHED")
    assert waiting(ledger, "sweep") == 1
    client.restore_run(run)
    assert mirrored(store) == UP_TO_DATE
    assert runs_of(store)["#0 plain"].info.status == "FINISHED"


def test_somebody_elses_experiment_is_not_written_into(store: Store, ledger: Ledger, made: Made) -> None:
    client = client_of(store)
    experiment = client.create_experiment("sweep", tags={"whose": "mine"})
    run = client.create_run(experiment, run_name="my own").info.run_id
    with pytest.raises(SearchError, match="experiment named 'sweep'.* choose another name with --name"):
        refuse_foreign(store, "sweep")
    refuse_foreign(store, "free")
    made("complete", status="finished")
    for rebuild in (False, True):
        lag = mirrored(store, rebuild=rebuild)
        assert lag.waiting >= 2
        assert lag.problem is not None and "choose another name" in lag.problem
    assert client.get_experiment_by_name("sweep").tags == {"whose": "mine"}
    assert [r.info.run_id for r in client.search_runs([experiment])] == [run]
    client.delete_experiment(experiment)
    with pytest.raises(SearchError, match="deleted MLflow experiment .*choose another with --name"):
        refuse_foreign(store, "sweep")


def test_a_large_configuration_goes_in_parts(
    store: Store, ledger: Ledger, maker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "MOST_EPOCHS", 2)
    sweep = maker.begin(ledger)
    maker.configuration(ledger, sweep, 0, epochs=5)
    maker.configuration(ledger, sweep, 1)
    assert mirrored(store) == UP_TO_DATE
    runs = runs_of(store)
    history = client_of(store).get_metric_history(runs["#0 plain"].info.run_id, "loss/train")
    assert [m.step for m in history] == [0, 1, 2, 3, 4]
    assert runs["#0 plain"].info.status == runs["#1 paper"].info.status == "FINISHED"


def test_a_run_that_comes_into_being_late_is_put_away(store: Store, ledger: Ledger, made: Made) -> None:
    sweep = made("complete")
    # A former driver asked for the run, and no answer came.
    assert mirrored(store) == UP_TO_DATE
    before = in_mlflow(store)
    mirror = mlflow.MlflowMirror(store, ledger)
    ledger.forget(sweep, "mlflow")
    ledger.take(sweep, "mlflow", [Taken(0, attempted=True)])
    while mirror.round(ledger.sweep("sweep"), True):
        pass
    made_again = runs_of(store)["#0 plain"]
    tags = {key: value for key, value in made_again.data.tags.items() if key.startswith("gradsweep.")}
    late = client_of(store).create_run(made_again.info.experiment_id, tags=tags, run_name="late")
    ledger.finish(sweep, "finished", "Is it?", trained=True)
    while mirror.round(ledger.sweep("sweep"), True):
        pass
    mirror.close()
    assert runs_of(store)["#0 plain"].info.run_id == made_again.info.run_id
    assert client_of(store).get_run(late.info.run_id).info.lifecycle_stage == "deleted"
    assert in_mlflow(store)["#0 plain"] == before["#0 plain"]


def test_a_database_is_made_once_in_whatever_folder(tmp_path: Path, maker: Any) -> None:
    store = Store.at(tmp_path / "a store, 100% #1 {x} é").create()
    both = threading.Barrier(2)

    def connect() -> int:
        both.wait(30)
        return len(client.connected(store.mlflow_uri).search_experiments())

    with ThreadPoolExecutor(2) as pool:
        assert [made.result() for made in [pool.submit(connect) for _ in range(2)]] == [1, 1]
    ledger = Ledger.create(store.ledger_url)
    maker.configuration(ledger, maker.begin(ledger), 0)
    ledger.close()
    assert mirrored(store) == UP_TO_DATE
    assert len(list(store.artifacts.glob("sweep/*/artifacts/records.parquet"))) == 1
    assert [f.name for f in store.folder.glob("mlflow.db.new")] == []
    for file in store.folder.rglob("*"):
        assert not file.stat().st_mode & stat.S_IWOTH, file


def test_mlflows_database_stays_small(store: Store, ledger: Ledger, maker: Any) -> None:
    sweep, metrics = maker.begin(ledger), names(network("combined"))

    def size() -> int:
        with closing(sqlite3.connect(store.mlflow_db)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return store.mlflow_db.stat().st_size

    before = size()
    draw = np.random.default_rng(0)
    for number in range(2):
        ledger.add(sweep, [maker.added(number, range(25))])
        for epoch in range(41):
            values = draw.normal(size=(25, len(metrics)))
            ledger.record(sweep, {number: Epoch(epoch, "lanes", metrics, values, 0.5)}, [])
        end = replace(maker.added(number, range(25)), state="complete", values=(0.5,), order=number)
        ledger.record(sweep, {}, [end])
    assert mirrored(store) == UP_TO_DATE
    assert (size() - before) / 2 <= 0.5 * 2**20


def test_the_users_own_settings_stand_and_ours_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_TIMEOUT", raising=False)
    before = dict(os.environ)
    with client.settings():
        with client.settings(timeout=5):
            pass
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "3"
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "60"
    assert dict(os.environ) == before
