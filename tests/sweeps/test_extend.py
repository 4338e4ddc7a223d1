"""A sweep that is extended has, to the bit, the records of one that was begun with all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sweeps
from tracking.ledger import opened
from tracking.store import Store
from tracking.types import Configuration
from trainers.errors import RequestError, SearchError

SPEC = """\
name: grown
base: {init_scale: 1.0, data: "IMAGES", epochs: 2, batch_size: 8}
seeds: 2
arms: {plain: {alpha: 1.0}}
search:
  space: {alpha: {low: 0.5, high: 8.0, log: true}, r: {low: 1.0e-5, high: 1.0, log: true}}
  sampler: {name: tpe, seed: 0, n_startup_trials: 2}
  configurations: 3
resources: {pack: 3}
"""
Run = Callable[..., pd.DataFrame]


@pytest.fixture
def spec(images: str, tmp_path: Path) -> str:
    file = tmp_path / "grown.yaml"
    file.write_text(SPEC.replace("IMAGES", images))
    return str(file)


@pytest.fixture
def run(spec: str, tmp_path: Path) -> Run:
    """The records of the sweep, run with these settings in a store of its own, but for the seconds."""

    def run(store: str, *settings: str, **options: Any) -> pd.DataFrame:
        result = sweeps.run(spec, set=settings, store=tmp_path / store, executor="in-process", **options)
        return result.frame.drop(columns="seconds")

    return run


@pytest.fixture
def extend(tmp_path: Path) -> Run:
    def extend(store: str, **more: Any) -> pd.DataFrame:
        result = sweeps.extend("grown", store=tmp_path / store, executor="in-process", **more)
        return result.frame.drop(columns="seconds")

    return extend


def rows(folder: Path) -> list[Configuration]:
    with opened("grown", Store.at(folder)) as (ledger, sweep):
        return ledger.configurations(sweep)


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_more_configurations(run: Run, extend: Run, tmp_path: Path) -> None:
    longer = run("longer", "search.configurations=13")
    run("short")
    before = rows(tmp_path / "short")
    same(extend("short", configurations=8), longer[longer.configuration < 9])
    same(run("short", "search.configurations=13", resume=True), longer)
    assert rows(tmp_path / "short")[:4] == before, "what was there is as it was"


def test_a_search_whose_pack_was_half_full_when_it_ended(run: Run, extend: Run) -> None:
    """3 of 4 places of the second pack were open: those who come later know no more than those who came first."""
    longer = run("longer", "search.configurations=9")
    run("short", "search.configurations=1")
    same(extend("short", configurations=9), longer)


def test_more_seeds_train_only_these(run: Run, extend: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    longer = run("longer", "seeds=5", "search.sampler={name: random}")
    run("short", "search.sampler={name: random}")
    caplog.set_level("INFO", "gradsweep")
    same(extend("short", seeds=5), longer)
    assert "extending 4 configurations: 3 more seeds" in caplog.text
    assert [c.seeds for c in rows(tmp_path / "short")] == [(0, 1)] * 4 + [(2, 3, 4)] * 4
    status = sweeps.status("grown", tmp_path / "short")
    assert (status["total"], status["complete"], status["state"]) == (4, 4, "finished")
    same(extend("short", configurations=3, seeds=5), longer)
    assert len(rows(tmp_path / "short")) == 8, "nothing is left to do"


@pytest.mark.parametrize(
    ("schedule", "keep", "way"),
    [
        ("constant", "states", "epochs 3 to 5, from the states that were kept"),
        ("constant", "null", "5 epochs from the start: states were not kept (resources.keep: states)"),
        ("cosine", "states", "5 epochs from the start: over more epochs the cosine schedule is another"),
    ],
)
def test_more_epochs(
    run: Run, extend: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, schedule: str, keep: str, way: str
) -> None:
    """Of configurations that have been given more seeds before."""
    settings = (f"base.schedule={schedule}", "search.sampler={name: random}", "objective={epoch: best}")
    longer = run("longer", *settings, "base.epochs=5", "seeds=3")
    run("short", *settings, f"resources.keep={keep}")
    extend("short", seeds=3)
    caplog.set_level("INFO", "gradsweep")
    same(extend("short", epochs=5), longer)
    assert f"extending 4 configurations: {way}" in caplog.text
    of_seeds = longer[longer.epoch > 0].groupby(["configuration", "seed"])["validation.accuracy"].max()
    for c in rows(tmp_path / "short")[8:]:
        means = [of_seeds[c.extends, seed] for seed in c.seeds]
        assert c.values == (pytest.approx(sum(means) / len(means)),), "the best may be one of the epochs before"


def test_more_arms_and_claims_of_a_sweep_that_was_stopped(run: Run, tmp_path: Path, spec: str) -> None:
    full = run("full", "search.configurations=6")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            run("stopped", "search.configurations=6")
    assert any(c.state == "running" for c in rows(tmp_path / "stopped"))
    claims = "claims=[{better: wide, than: plain}]"
    result = sweeps.run(
        spec,
        set=["search.configurations=6", "seeds=3", "arms.wide={units: 16}", claims],
        store=tmp_path / "stopped",
        executor="in-process",
        resume=True,
    )
    frame = result.frame.drop(columns="seconds")
    assert sorted(frame.seed.unique()) == [0, 1, 2]
    assert (frame.groupby("configuration").seed.nunique() == 3).all()
    old = frame[(frame.seed < 2) & (frame.arm == "plain")]
    same(old.reset_index(drop=True), full[full.arm == "plain"].reset_index(drop=True))
    (claim,) = result.verdict.claims
    assert claim.stated_later and claim.seeds_added
    assert claim.comparison is not None and claim.comparison.pairs == (0, 1, 2)


def stop_after(patch: pytest.MonkeyPatch, reports: int) -> None:
    """Interrupt the next sweep after so many reports."""
    from sweeps.driver.driver import Driver

    record, count = Driver.record, [0]

    def recorded(driver: Driver, report: Any) -> None:
        record(driver, report)
        count[0] += 1
        if count[0] == reports:
            raise KeyboardInterrupt

    patch.setattr(Driver, "record", recorded)


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("search.configurations=2", "search.configurations"),
        ("seeds=[0, 7]", "seeds"),
        ("base.epochs=1", "base.epochs"),
        ("arms={}", "arms.plain"),
        ("arms.plain={alpha: 2.0}", "arms.plain.alpha"),
        ("search.sampler.seed=1", "search.sampler.seed"),
        ("base.batch_size=16", "base.batch_size"),
    ],
)
def test_what_is_less_or_another_is_refused(run: Run, tmp_path: Path, setting: str, key: str) -> None:
    run("short")
    before = rows(tmp_path / "short")
    with pytest.raises(RequestError, match=f"was started with a different {key}: .* may only be added"):
        run("short", setting, resume=True)
    assert rows(tmp_path / "short") == before


def test_fresh_seeds_stay_fresh(run: Run) -> None:
    """Counted, they would move on with the seeds of the search; in a list they stay."""
    run("counted", "confirm={top: 1, seeds: 2}")
    with pytest.raises(RequestError, match="was started with a different confirm.seeds: "):
        run("counted", "confirm={top: 1, seeds: 2}", "seeds=3", resume=True)
    run("listed", "confirm={top: 1, seeds: [7, 8]}")
    frame = run("listed", "confirm={top: 1, seeds: [7, 8, 9]}", "seeds=3", resume=True)
    seeds = frame.groupby(["phase", "configuration"]).seed.unique().map(tuple)
    assert {*seeds["search"]} == {(0, 1, 2)}
    assert (7, 8, 9) in {*seeds["confirm"]}


def test_what_is_not_there_can_not_be_extended(extend: Run) -> None:
    with pytest.raises(SearchError, match="there is no sweep named 'grown'"):
        extend("nowhere", seeds=5)


def test_equal_configurations_are_trained_once(run: Run, tmp_path: Path) -> None:
    settings = ("search.space={alpha: [1.0, 2.0], r: [0.0]}", "search.configurations=9", "arms.too={alpha: 1.0}")
    frame = run("copies", *settings)
    configurations = rows(tmp_path / "copies")
    firsts = [c.number for c in configurations if c.same_as is None]
    assert len(firsts) == 2 and configurations[1].same_as == 0, "an arm is equal to another"
    assert len(configurations) < 11, "the space is exhausted"
    values = [name for name in frame if name not in ("sweep", "configuration", "arm")]
    for c in configurations:
        own = frame.loc[frame.configuration == c.number, values].reset_index(drop=True)
        of = frame.loc[frame.configuration == (c.number if c.same_as is None else c.same_as), values]
        same(own, of.reset_index(drop=True))
    assert {c.state for c in configurations} == {"complete"}


def test_a_copy_waits_for_what_it_is_a_copy_of_after_a_stop_too(run: Run, tmp_path: Path) -> None:
    settings = ("search.space={alpha: [1.0], r: [0.0, 0.1]}", "search.configurations=5", "arms.too={alpha: 1.0}")
    undisturbed = run("undisturbed", *settings)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run("stopped", *settings)
    same(run("stopped", *settings, resume=True), undisturbed)


@pytest.mark.ray
def test_ray_suggests_what_one_process_suggests(run: Run, spec: str, tmp_path: Path) -> None:
    setting = "search.configurations=14"
    here = run("here", setting)
    at_once = sweeps.run(spec, set=[setting], store=tmp_path / "ray").frame.drop(columns="seconds")
    same(at_once, here)
