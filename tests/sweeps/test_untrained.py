"""`epochs: 0`: networks at their initial values alone, in all that a sweep does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sweeps
from sweeps.commands.audit import audit_of
from sweeps.driver.growth import differences
from sweeps.spec.reading import parse

SPEC = """\
name: untrained
base: {regime: deep, dense: 3, units: 4, data: "IMAGES", epochs: 0, batch_size: 8}
seeds: 2
arms: {plain: {alpha: 1.0, r: 0.0}, paper: {alpha: 2.0, r: 0.01}}
search:
  space: {alpha: {low: 0.5, high: 8.0, log: true}, init_scale: {low: 0.5, high: 4.0, log: true}}
  sampler: {name: tpe, seed: 0, n_startup_trials: 2}
  configurations: 4
claim: paper
resources: {pack: 2}
"""
FIXED = ("search.sampler={name: random, seed: 0}",)
Run = Callable[..., sweeps.Result]


@pytest.fixture
def run(images: str, tmp_path: Path) -> Run:
    """The sweep, run with these settings in a store of its own."""
    file = tmp_path / "untrained.yaml"
    file.write_text(SPEC.replace("IMAGES", images))

    def run(store: str, *settings: str, **options: Any) -> sweeps.Result:
        return sweeps.run(str(file), set=settings, store=tmp_path / store, **{"executor": "in-process"} | options)

    return run


def numbers(result: sweeps.Result, but: tuple[str, ...] = ("seconds",)) -> pd.DataFrame:
    return result.frame.drop(columns=[*but]).reset_index(drop=True)


@pytest.mark.parametrize("epoch", ["last", "best", "{mean_of_last: 5}", "{first_above: 0.4}"])
def test_a_configuration_is_complete_after_epoch_0(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, epoch: str
) -> None:
    """With a pruner, a confirmation and every choice of epochs."""
    result = run(
        "store",
        f"objective={{metric: validation.accuracy, epoch: {epoch}}}",
        "search.pruner={name: hyperband}",
        "confirm={top: 1, seeds: 3}",
        "resources.keep=weights",
    )
    frame, states = result.frame, sweeps.status("untrained", tmp_path / "store")
    assert (states["total"], states["complete"], states["state"]) == (9, 9, "finished")
    assert {*frame["epoch"]} == {0} and len(frame) == 6 * 2 + 3 * 3
    assert frame[["validation.accuracy", "test.accuracy", "gradient.data.rms", "saturated"]].notna().all(axis=None)
    means = frame[frame["phase"] == "confirm"].groupby("configuration")["validation.accuracy"].mean()
    assert result.best is not None
    assert "first_above" in epoch or result.best.mean == pytest.approx(means.max())
    assert audit_of("untrained", str(tmp_path / "store"))["sound"]
    assert {"seeds", "surface"} < result.figures.keys() and "could not be made" not in caplog.text
    assert len(sweeps.weights("untrained", tmp_path / "weights", store=tmp_path / "store")) == len(frame)


@pytest.mark.parametrize("keep", ["states", "null"])
def test_it_is_the_beginning_of_a_longer_training(run: Run, tmp_path: Path, keep: str) -> None:
    longer = run("longer", *FIXED, "base.epochs=2")
    untrained = run("store", *FIXED, f"resources.keep={keep}")
    but = ("seconds", "epochs")
    first = numbers(longer, but)[longer.frame["epoch"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(numbers(untrained, but), first, check_exact=True)
    more = sweeps.extend("untrained", epochs=2, store=tmp_path / "store", executor="in-process")
    pd.testing.assert_frame_equal(numbers(more), numbers(longer), check_exact=True)
    assert audit_of("untrained", str(tmp_path / "store"))["sound"]


@pytest.mark.ray
def test_on_ray_as_in_process(run: Run) -> None:
    on_ray, here = run("ray", *FIXED, executor="ray"), run("here", *FIXED)
    pd.testing.assert_frame_equal(numbers(on_ray), numbers(here), check_exact=True)


def test_a_sweep_of_before_whose_packs_had_a_number_goes_on(images: str) -> None:
    """As it was recorded with the default filled in; another number would be another search."""
    spec = parse(SPEC.replace("IMAGES", images).replace("resources: {pack: 2}\n", ""), "untrained")
    numbered, another = (
        parse(spec.to_yaml(), "untrained", [f"resources.pack={pack}", "base.epochs=2"]) for pack in (8, 4)
    )
    assert differences(spec, numbered) == differences(numbered, numbered) == []
    assert differences(spec, another) == ["resources.pack"]
