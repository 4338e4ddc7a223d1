from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracking
from sweeps.driver.driver import epoch_of
from tracking.extended import as_one
from tracking.ledger import Ledger
from tracking.results import export, load, load_layers, load_wide, outcomes, sweeps
from tracking.store import Store
from tracking.types import Configuration, Sweep
from trainers.errors import RequestError, SearchError
from trainers.members import FIELDS, EpochRecord, MemberConfig, layers_of
from trainers.metrics import always, names


def test_the_table_has_the_columns_of_the_contract(store: Store, ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    maker.configuration(ledger, sweep, 1, "running", epochs=2)
    maker.configuration(ledger, sweep, 0)
    frame = tracking.load("sweep", store)
    fields = [name for name in FIELDS if name != "seed"]
    metrics = [m for m in maker.metrics if not m.startswith("layer.")]
    keys = ["sweep", "configuration", "arm", "phase", "state", "seed", "epoch"]
    own = [*keys, *fields, *metrics]
    assert list(frame.columns)[: len(own)] == own
    # what is always recorded by now, and was not by whoever wrote these
    later = list(frame.columns)[len(own) :]
    assert set(later) == set(always(())) - set(metrics)
    assert frame[later].isna().all(axis=None)
    rows = [(n, s, e) for n, epochs in ((0, 3), (1, 2)) for s in (0, 1, 2) for e in range(epochs)]
    assert list(zip(frame["configuration"], frame["seed"], frame["epoch"], strict=True)) == rows
    assert set(frame["sweep"]) == {"sweep"} and set(frame["arm"]) == {"plain", "paper"}
    assert frame["state"].tolist() == ["complete"] * 9 + ["running"] * 6 and set(frame["phase"]) == {"search"}
    assert frame["alpha"].tolist() == [1.0 + n for n, _, _ in rows] and set(frame["engine"]) == {"reference"}
    for i, metric in enumerate(maker.metrics):
        if metric in metrics:
            assert frame[metric].tolist() == [0.1 + n + s / 7 + e / 11 + i / 13 for n, s, e in rows]
    assert frame["dense_bias"].dtype == bool


def test_networks_of_different_depth_share_the_columns_of_their_layers(store: Store, ledger: Ledger) -> None:
    sweep = ledger.begin(Sweep("sweep", "name: sweep"))
    for number, (regime, layer) in enumerate((("combined", "dense3"), ("many-layers", "dense4"))):
        member = MemberConfig(regime=regime, alpha=2)
        record = EpochRecord(
            member, 0, "lanes", {"train.loss": 1.0, "seconds": 0.1, f"layer.{layer}.dead": 0.5 + number}
        )
        ledger.add(sweep, [Configuration(number, regime, vars(member), (0,))])
        ledger.record(sweep, {number: epoch_of([record], 1.0)}, [])
    frame = load_layers("sweep", store)
    assert list(frame.columns)[:10] == [*frame.columns[:7], "layer", "depth", "kind"]
    assert frame["layer"].tolist() == ["dense3", "dense4"] and set(frame["kind"]) == {"dense"}
    assert frame["depth"].tolist() == [9, 13], "counted over the layers with parameters"
    assert frame["dead"].tolist() == [0.5, 1.5] and frame["weight_norm"].isna().all()
    wide = load_wide("sweep", store)
    assert wide["layer.dense3.dead"].isna().tolist() == [False, True]
    assert wide["train.loss"].tolist() == [1.0, 1.0] and wide["alpha"].dtype == np.float64
    assert not [name for name in load("sweep", store) if name.startswith("layer.")]


def test_what_is_learned_is_a_column_where_it_is_learned(store: Store, ledger: Ledger) -> None:
    sweep = ledger.begin(Sweep("sweep", "name: sweep"))
    for number, learn_alpha in enumerate(("none", "layer")):
        member = MemberConfig(regime="deep", dense=2 + number, learn_alpha=learn_alpha)
        record = EpochRecord(member, 0, "lanes", dict.fromkeys(names(layers_of(member, 10)), 0.5))
        ledger.add(sweep, [Configuration(number, learn_alpha, vars(member), (0,))])
        ledger.record(sweep, {number: epoch_of([record], 0.5)}, [])
        frame, layers = load("sweep", store), load_layers("sweep", store)
        assert ("learned.alpha" in frame, "learned.alpha" in layers) == (number == 1, number == 1)
        assert "learned.slope" not in frame and "learned.slope" not in layers
    assert frame["learned.alpha"].isna().tolist() == [True, False]
    # three layers of the first, then three of the second that learn it, and its output, which does not
    assert layers["learned.alpha"].isna().tolist() == [True] * 3 + [False] * 3 + [True]


def test_a_record_of_before_a_field_has_its_default_or_its_regimes(store: Store, ledger: Ledger) -> None:
    sweep = ledger.begin(Sweep("sweep", "name: sweep"))
    member = MemberConfig(regime="many-layers")
    record = EpochRecord(member, 0, "lanes", dict.fromkeys(names(layers_of(member, 10)), 0.5))
    old = {name: value for name, value in vars(member).items() if name in ("regime", "activation", "alpha", "r")}
    ledger.add(sweep, [Configuration(0, "plain", old, (0,))])
    ledger.record(sweep, {0: epoch_of([record], 0.5)}, [])
    (row,) = load("sweep", store).to_dict("records")
    assert (row["blocks"], row["dense"], row["units"], row["residual"]) == (3, 4, 8, False)
    assert row["optimizer"] == "adam" and np.isnan(row["slope"])
    assert load_layers("sweep", store)["depth"].tolist() == [*range(1, 15)]


def test_a_sweep_extended_since_a_metric_is_recorded_has_none_for_its_first_seeds(
    store: Store, ledger: Ledger, maker: Any
) -> None:
    sweep = maker.begin(ledger)
    maker.configuration(ledger, sweep, 0)
    more = replace(maker.added(0, (3, 4)), number=1, extends=0)
    ledger.add(sweep, [more])
    since = maker.epoch(0, 2, (3, 4))
    since = replace(since, names=("dead_layers", *since.names), values=np.insert(since.values, 0, [1.0, 2.0], axis=1))
    ledger.record(sweep, {1: since}, [replace(more, state="complete", values=(0.5,), order=1)])
    frame = load("sweep", store)
    assert frame[frame.epoch == 2]["dead_layers"].fillna(-1).tolist() == [-1, -1, -1, 1, 2]
    family = ledger.configurations(sweep)
    epochs = {c.number: [e for _, e in ledger.epochs(sweep, [c.number]) if e.epoch == 2] for c in family}
    (last,) = as_one(family, epochs, (4, 0, 3))
    values = dict(zip(last.names, last.values.T.tolist(), strict=True))
    assert np.array_equal(values["dead_layers"], [2, np.nan, 1], equal_nan=True)
    of_seeds = frame[frame.epoch == 2].set_index("seed")["train.loss"]
    assert values["train.loss"] == of_seeds[[4, 0, 3]].tolist()


def test_what_confirms_is_of_its_arm_and_of_a_phase_of_its_own(store: Store, ledger: Ledger, maker: Any) -> None:
    sweep = maker.begin(ledger)
    maker.configuration(ledger, sweep, 1)
    again = replace(maker.added(1), number=2, confirms=1)
    ledger.add(sweep, [again])
    ledger.record(sweep, {2: maker.epoch(1, 0)}, [])
    frame = load("sweep", store)
    assert frame[["configuration", "arm", "phase"]].drop_duplicates().to_numpy().tolist() == [
        [1, "paper", "search"],
        [2, "paper", "confirm"],
    ]
    assert {n: (o.name, o.arm, o.confirms) for n, o in outcomes("sweep", store).items()} == {
        1: ("paper", "paper", None),
        2: ("confirm paper", "", "paper"),
    }


def test_a_sweep_without_records_is_an_empty_table(store: Store, ledger: Ledger, maker: Any) -> None:
    maker.begin(ledger)
    for frame in (load("sweep", store), load_layers("sweep", store)):
        assert len(frame) == 0 and "configuration" in frame
    assert outcomes("sweep", store) == {}
    assert [(s.name, s.status) for s in sweeps(store)] == [("sweep", "running")]


def test_what_is_not_there_is_one_line(store: Store, maker: Any) -> None:
    assert sweeps(store) == []
    with pytest.raises(SearchError, match="there is no sweep named 'other' in .*: there is none yet"):
        load("other", store)
    ledger = Ledger.create(store.ledger_url)
    maker.begin(ledger)
    ledger.close()
    with pytest.raises(SearchError, match="there is no sweep named 'other' in .*: there is sweep"):
        load("other", store)


@given(values=st.lists(st.floats(allow_nan=True), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_an_export_reads_back_to_the_bit(tmp_path: Path, values: list[float]) -> None:
    frame = pd.DataFrame({"configuration": range(len(values)), "arm": 'it\'s, "so"\n', "x": values})
    for name in ("a.parquet", "a.csv"):
        export(frame, tmp_path / name)
    csv = pd.read_csv(tmp_path / "a.csv")
    for again in (pd.read_parquet(tmp_path / "a.parquet"), csv):
        assert list(again.columns) == list(frame.columns) and list(again["arm"]) == list(frame["arm"])
        got = again["x"].to_numpy(dtype=np.float64)
        missing = np.isnan(got)
        assert (missing == np.isnan(values)).all()
        assert got[~missing].tobytes() == np.array(values)[~missing].tobytes()


def test_an_export_is_whole_or_not_there(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [1.0]})
    with pytest.raises(RequestError, match=r"must end in \.parquet or \.csv, but got '.*a\.xlsx'"):
        export(frame, tmp_path / "a.xlsx")
    with pytest.raises(OSError, match="No such file"):
        export(frame, tmp_path / "no" / "a.csv")
    (tmp_path / "a.csv").write_text("before")
    with pytest.raises(Exception, match="."):
        export(pd.DataFrame({"x": [Broken()]}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "before"
    export(frame, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "x\n1.0\n"
    assert [f.name for f in tmp_path.iterdir()] == ["a.csv"]


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("broken")

    __repr__ = __str__


def test_the_package_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    heavy = {"pandas", "mlflow", "scipy", "optuna"}
    code = f"import sys, tracking, tracking.store, tracking.ledger; print(*{heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tracking.nothing  # noqa: B018


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o027, 0o640)])
def test_an_export_may_be_read_by_whom_the_umask_lets(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        export(pd.DataFrame({"x": [1.0]}), tmp_path / "a.csv")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == mode
