"""Measurements that a spec asks for: in its records, in an export, as an objective and in a claim."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import sweeps
import tracking
from sweeps.cli import app
from sweeps.spec.reading import parse
from trainers.errors import SpecError
from trainers.measurements import MEASUREMENTS

BASE = "{regime: deep, dense: 3, units: 4, activation: relu, epochs: 2, batch_size: 256, init_scale: 1.0, %s}"
SPEC = f"""\
name: asked
base: {BASE % "initialization: he_normal, dense_bias: false, measure: [signal, jacobian]"}
seeds: 3
arms:
  wide: {{units: 12}}
  narrow: {{units: 2}}
objective: {{metric: signal.born_dead, goal: minimize}}
claims:
  - {{better: wide, than: narrow, metric: layer.dense3.signal.variance, goal: maximize, since: 0, until: 0}}
"""
SIGNAL = [*MEASUREMENTS["signal"].layer]
JACOBIAN = [*MEASUREMENTS["jacobian"].network]


def run(text: str, folder: Path) -> sweeps.Result:
    (folder / "asked.yaml").write_text(text, encoding="utf-8")
    return sweeps.run(folder / "asked.yaml", store=folder / "store", executor="in-process")


def test_an_objective_and_a_claim_are_about_what_was_measured(tmp_path: Path) -> None:
    result = run(SPEC, tmp_path)
    assert result.failures == {}
    frame = result.frame
    assert set(frame["measure"]) == {"signal, jacobian"} and not frame[JACOBIAN].isna().any().any()
    last = frame[frame["epoch"] == 2]
    for summary in result.verdict.objectives[0].ranking:
        dead = last[last["arm"] == summary.name].sort_values("seed")["signal.born_dead"]
        assert summary.values == tuple(dead) and set(dead) <= {0.0, 1.0}
    assert last[last["arm"] == "wide"]["signal.born_dead"].sum() == 0
    (claim,) = result.verdict.claims
    layers = tracking.load_layers("asked", tmp_path / "store")
    rows = layers[(layers["layer"] == "dense3") & (layers["epoch"] == 0)].set_index("seed")
    wide, narrow = (rows[rows["arm"] == arm]["signal.variance"] for arm in ("wide", "narrow"))
    assert claim.comparison is not None
    assert claim.comparison.ones == pytest.approx(tuple(wide)) and claim.comparison.others == pytest.approx(
        tuple(narrow)
    )


def test_the_tables_have_the_columns_and_nan_where_nothing_was_measured(tmp_path: Path) -> None:
    run(SPEC.partition("objective")[0].replace("measure:", "measure_at: [0, 2], measure:"), tmp_path)
    store = tmp_path / "store"
    frame, layers = tracking.load("asked", store), tracking.load_layers("asked", store)
    for epoch, rows in frame.groupby("epoch"):
        assert rows["signal.born_dead"].isna().all() == (epoch == 1) == rows["jacobian.mean_square"].isna().all()
    for (epoch, layer), rows in layers.groupby(["epoch", "layer"]):
        assert rows[["signal.variance", "signal.zero"]].isna().all(axis=None) == (epoch == 1 or layer == "output")
    assert set(frame["measure_at"]) == {"0, 2"}

    for options, expected in ((["--layers"], layers), ([], frame)):
        file = tmp_path / f"exported{len(options)}.csv"
        answer = CliRunner().invoke(app, ["export", "asked", str(file), "--store", str(store), *options])
        assert answer.exit_code == 0, answer.output
        columns = SIGNAL if options else JACOBIAN
        written = pd.read_csv(file)
        assert np.allclose(written[columns], expected[columns], rtol=1e-12, equal_nan=True)


OBJECTIVE = "objective: {metric: %s, goal: minimize}\n"
CLAIM = "claims: [{better: a, than: b, metric: %s, goal: minimize, %s}]\n"
ONLY = "is only recorded where it is asked for: add measure: "
NOT = "is not measured at every epoch that counts here, only at 0, 2: leave measure_at out"


@pytest.mark.parametrize(
    ("fields", "line", "message"),
    [
        ("penalty: l2", OBJECTIVE % "jacobian.largest", f"jacobian.largest {ONLY}[jacobian]"),
        ("measure: [jacobian]", OBJECTIVE % "signal.born_dead", f"signal.born_dead {ONLY}[jacobian, signal]"),
        ("penalty: l2", CLAIM % ("layer.dense1.signal.zero", "until: 0"), f"layer.dense1.signal.zero {ONLY}[signal]"),
        ("measure: [signal], measure_at: [0, 2]", OBJECTIVE % "signal.born_dead", f"signal.born_dead {NOT}"),
        (
            "measure: [signal], measure_at: [0, 2]",
            CLAIM % ("layer.dense1.signal.zero", "epoch: best"),
            f"layer.dense1.signal.zero {NOT}",
        ),
        (
            "measure: [signal]",
            OBJECTIVE % "layer.dense9.signal.zero",
            "unknown metric 'layer.dense9.signal.zero'; did you mean layer.dense3.signal.zero?",
        ),
    ],
)
def test_what_is_not_measured_is_no_unknown_metric(fields: str, line: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(f"name: x\nbase: {BASE % fields}\narms: {{a: {{}}, b: {{alpha: 2.0}}}}\n{line}", "x.yaml")
    (problem,) = caught.value.problems
    where = "objective.metric" if line.startswith("objective") else "claims.0.metric"
    assert problem.startswith(f"x.yaml:4: {where}: {message}")


def test_a_claim_about_the_last_epoch_needs_that_one_alone() -> None:
    fields = BASE % "measure: [signal], measure_at: [0, 2]"
    line = CLAIM % ("signal.born_dead", "epoch: last")
    assert parse(f"name: x\nbase: {fields}\narms: {{a: {{}}, b: {{alpha: 2.0}}}}\n{line}").judged_claims()
