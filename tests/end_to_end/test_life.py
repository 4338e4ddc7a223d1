"""The whole life of a sweep: run, extended twice, killed in between, compared, its weights taken out, deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from sweeps.store_file import open_store
from tests.end_to_end.conftest import Command

pytestmark = pytest.mark.timeout(1200)  # a dozen commands and more, on a machine that may be busy

SPEC = """\
name: life
base: {init_scale: 1.0, data: "IMAGES", epochs: 12, batch_size: 8}
seeds: 2
arms:
  plain: {alpha: 1.0}
  wide: {units: 16}
search:
  space: {alpha: {low: 0.5, high: 8.0, log: true}}
  sampler: {name: random, seed: 0}
  configurations: 3
resources: {pack: 2, keep: states}
"""
HERE = ("--executor", "in-process")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def life(
    request: pytest.FixtureRequest, make_command: Callable[[], Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """`gradsweep` on a folder, or on a team's PostgreSQL."""
    if request.param == "sqlite":
        yield make_command()
        return
    from tests.service.servers import DATABASE_PASSWORD, Postgres

    postgres = Postgres(DATABASE_PASSWORD)
    try:
        monkeypatch.setenv("LEDGER_URL", postgres.create("ledger"))
        file = tmp_path / "team.yaml"
        file.write_text(f"ledger: {{env: LEDGER_URL}}\nfolder: {tmp_path / 'shared'}\n")
        yield Command(tmp_path, tmp_path / "cache", open_store(file))
    finally:
        postgres.stop()


def test_the_life_of_a_sweep(life: Command, images: str) -> None:
    spec = life.spec("life", SPEC.replace("IMAGES", images))
    life("run", spec, *HERE)
    first = life.table("life")
    more = ("extend", "life", "--configurations", "9", "--seeds", "3", *HERE)
    process = life.start(*more)
    seen = life.epochs("life")
    life.until(lambda: life.epochs("life") >= seen + 20, process)  # of 143 more
    process.kill()
    process.communicate()
    status = life.json("status", "life")
    assert status["state"] == "stopped" and status["ended"] < status["total"] == 11
    life(*more)
    told = life("extend", "life", "--epochs", "20", "--arm", "sigmoid={activation: sigmoid}", *HERE).stderr
    assert "extending 11 configurations: epochs 13 to 20, from the states that were kept" in told
    assert "sound" in life("audit", "life").stdout

    life("run", spec, "--name", "whole", *settings(configurations=9, seeds=3, epochs=20), *HERE)
    whole, extended = life.table("whole"), life.table("life")
    # What was added before them has taken numbers of its own.
    of_both = extended[extended.arm != "sigmoid"].assign(sweep="whole").reset_index(drop=True)
    of_both["configuration"] = of_both.configuration.rank(method="dense").astype(int) - 1
    pd.testing.assert_frame_equal(of_both, whole, check_exact=True)
    was = extended.merge(first[["configuration", "seed", "epoch"]])
    pd.testing.assert_frame_equal(was.drop(columns="epochs"), first.drop(columns="epochs"), check_exact=True)

    compared = life.json("compare", "life", "whole")
    assert len(compared["pairs"]) == 11 and all(pair["same_bits"] for pair in compared["pairs"])
    life("note", "life", "kept for the paper")
    life("tag", "life", "figure")
    assert [sweep["name"] for sweep in life.json("list", "--tag", "figure")] == ["life"]

    files = life.json("weights", "life", str(life.folder / "weights"))
    assert len(files) == 12 * 3
    best = torch.load(Path(files[0]["file"]), weights_only=True)
    assert best["member"]["epochs"] == 20

    life("delete", "life", "--yes")
    assert [sweep["name"] for sweep in life.json("list")] == ["whole"]
    assert not [path for path in life.store.folder.rglob("life*") if path.suffix != ".lock"]
    assert "there is no sweep named 'life'" in life("status", "life", status=2).stderr
    life("run", spec, *HERE)
    pd.testing.assert_frame_equal(life.table("life"), first, check_exact=True)
    assert "sound" in life("audit", "life").stdout and "sound" in life("audit", "whole").stdout


def settings(**values: Any) -> Iterator[str]:
    """As `--set` has them."""
    keys = {"configurations": "search.configurations", "epochs": "base.epochs"}
    for key, value in values.items():
        yield from ("--set", f"{keys.get(key, key)}={value}")
