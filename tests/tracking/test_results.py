from __future__ import annotations

import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandas.testing
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tracking
from tracking.delivery import Delivered, Delivery
from tracking.results import export, load, outcomes, sweeps
from tracking.spool import Spool
from tracking.store import Store
from trainers.errors import ResultsError
from trainers.members import FIELDS, EpochRecord, MemberConfig


def deliver(store: Store) -> None:
    delivery = Delivery(store, "sweep")
    delivery.start()
    assert delivery.drain(60) == Delivered(0, None)


def test_the_table_has_the_columns_of_the_contract(store: Store, spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    maker.configuration(spool, 1, "running", epochs=2)
    maker.configuration(spool, 0)
    frame = tracking.load("sweep", store)
    fields = [name for name in FIELDS if name != "seed"]
    assert list(frame.columns) == ["sweep", "configuration", "arm", "seed", "epoch", *fields, *maker.metrics]
    keys = [(n, s, e) for n, epochs in ((0, 3), (1, 2)) for s in (0, 1, 2) for e in range(epochs)]
    assert list(zip(frame["configuration"], frame["seed"], frame["epoch"], strict=True)) == keys
    assert set(frame["sweep"]) == {"sweep"} and set(frame["arm"]) == {"plain", "paper"}
    assert frame["alpha"].tolist() == [1.0 + n for n, _, _ in keys] and set(frame["engine"]) == {"reference"}
    for i, metric in enumerate(maker.metrics):
        assert frame[metric].tolist() == [0.1 + n + s / 7 + e / 11 + i / 13 for n, s, e in keys]
    assert frame["dense_bias"].dtype == bool


def test_layers_that_another_regime_lacks_are_nan(store: Store, spool: Spool) -> None:
    for number, (regime, layer) in enumerate((("combined", "dense3"), ("many-layers", "dense4"))):
        member = MemberConfig(regime=regime, alpha=2)
        spool.start(number, "", regime, [member])
        spool.add(number, [EpochRecord(member, 0, "lanes", {"train.loss": 1.0, f"layer.{layer}.dead": 0.5})])
    frame = load("sweep", store)
    assert frame["layer.dense3.dead"].isna().tolist() == [False, True]
    assert frame["layer.dense4.dead"].isna().tolist() == [True, False]
    assert frame["train.loss"].tolist() == [1.0, 1.0] and frame["alpha"].dtype == np.float64


def test_mlflow_gives_the_same_table_as_the_spool(store: Store, spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    for number, state in enumerate(("complete", "pruned", "diverged", "failed")):
        maker.configuration(spool, number, state)
    maker.configuration(spool, 4, "failed", epochs=0)
    odd = MemberConfig(regime="many-layers")
    spool.start(5, "", "odd", [odd])
    spool.add(5, [EpochRecord(odd, 0, "lanes", {"train.loss": math.nan, "a": math.inf, "b": -0.0})])
    spool.end(5, "diverged", None, "the loss is not finite")
    expected, stand = load("sweep", store), outcomes("sweep", store)
    assert [o.state for o in stand.values()] == ["complete", "pruned", "diverged", "failed", "failed", "diverged"]
    for finished in (False, True):
        if finished:
            spool.finish("FINISHED", "")
        deliver(store)
        hidden = spool.file.rename(spool.file.with_suffix(".hidden"))
        frame = load("sweep", store)
        pandas.testing.assert_frame_equal(frame, expected, check_exact=True)
        assert np.signbit(frame["b"].iloc[-1])
        assert outcomes("sweep", store) == stand
        hidden.rename(spool.file)
    assert [(s.name, s.status) for s in sweeps(store)] == [("sweep", "FINISHED")]


def test_a_sweep_without_records_is_an_empty_table(store: Store, spool: Spool, maker: Any) -> None:
    maker.begin(spool)
    frame = load("sweep", store)
    assert len(frame) == 0 and "configuration" in frame
    deliver(store)
    spool.file.rename(spool.file.with_suffix(".hidden"))
    assert len(load("sweep", store)) == 0 and outcomes("sweep", store) == {}


def test_what_is_not_there_is_one_line(store: Store, spool: Spool, maker: Any) -> None:
    assert sweeps(store) == []
    with pytest.raises(ResultsError, match="there are no records in"):
        load("other", store)
    maker.begin(spool)
    deliver(store)
    with pytest.raises(ResultsError, match="there is no sweep 'other' in"):
        load("other", store)
    with pytest.raises(ResultsError, match="MLflow: "):
        load("other", store, "http://127.0.0.1:9")


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
    with pytest.raises(ValueError, match=r"ends in \.parquet or \.csv, but got '.*a\.xlsx'"):
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

    code = (
        "import sys, tracking, tracking.store, tracking.spool; print(*{'pandas', 'mlflow', 'scipy'} & set(sys.modules))"
    )
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
