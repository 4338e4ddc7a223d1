"""A sweep that is there already: continued where it is the same, refused where it is another."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sweeps.driver.signals import Interrupt
from sweeps.driver.sweep import Outcome, run
from sweeps.spec.reading import parse
from tracking.results import load, sweeps
from tracking.store import Store
from trainers.data import load as load_data
from trainers.errors import RequestError, SweepStopped

SPEC = """\
name: small
base: {{init_scale: 1.0, data: "{images}", epochs: 1, batch_size: 8}}
seeds: 2
arms:
  plain: {{alpha: 1.0}}
  large: {{alpha: {alpha}}}
"""

Run = Callable[..., Outcome]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(tmp_path / "store")


@pytest.fixture
def go(images: str, store: Store) -> Run:
    """Run the sweep in this process."""

    def run_(alpha: float = 2.0, resume: bool = False) -> Outcome:
        spec = parse(SPEC.format(images=images, alpha=alpha))
        with Interrupt() as interrupt:
            return run(spec, store, interrupt, executor="in-process", resume=resume, show=lambda *_: nullcontext())

    return run_


def test_another_sweep_of_this_name_is_not_added_to(go: Run, store: Store) -> None:
    go()
    before = load("small", store)
    with pytest.raises(RequestError, match="sweep 'small' already exists in .*: continue it with --resume"):
        go(alpha=4.0)
    with pytest.raises(
        RequestError, match="was started with a different arms.large.alpha: resume it with the same spec"
    ):
        go(alpha=4.0, resume=True)
    assert load("small", store).equals(before)


def test_the_mirrors_may_be_lost(go: Run, store: Store) -> None:
    go()
    before = load("small", store)
    for file in (*store.folder.glob("optuna.db*"), *store.folder.glob("mlflow.db*")):
        file.unlink()
    assert go(resume=True).counts.complete == 2
    assert load("small", store).equals(before)


def test_what_is_trained_twice_is_not_another_end(go: Run, store: Store) -> None:
    """To judge a finished sweep again trains nothing, and it ended when it ended."""
    go()
    (first,) = sweeps(store)
    go(resume=True)
    (again,) = sweeps(store)
    assert (again.ended, again.status) == (first.ended, "finished")


def test_a_sweep_goes_on_with_the_images_that_it_began_with(
    go: Run, store: Store, images: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go()
    before = load("small", store)
    changed = replace(load_data(images), digest="5e" * 32)
    with monkeypatch.context() as patch:
        patch.setattr("sweeps.driver.sweep.load_data", lambda name: changed)
        with pytest.raises(RequestError, match="was .{12} and is 5e5e5e5e5e5e here: restore it, or choose"):
            go(resume=True)
    assert load("small", store).equals(before)
    assert go(resume=True).counts.complete == 2


def test_a_worker_that_sees_other_images_stops_the_sweep(go: Run, images: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(load_data(images), digest="5e" * 32)
    with monkeypatch.context() as patch:
        patch.setattr("trainers.data.load", lambda name: changed)
        with pytest.raises(
            SweepStopped, match=f"{platform.node()}: .* is not the data that the sweep was started with: its sha256 was"
        ):
            go()
    assert go(resume=True).counts.complete == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_the_gpu_that_packs_ask_for_no_sweep_is_begun(images: str, store: Store) -> None:
    spec = parse(SPEC.format(images=images, alpha=2.0) + "resources: {gpus: 0.5, concurrent: 2}\n")
    with Interrupt() as interrupt, pytest.raises(RequestError, match="gpus: a pack needs 0.5, and PyTorch sees no"):
        run(spec, store, interrupt, executor="in-process", resume=False, show=lambda *_: nullcontext())
    assert sweeps(store) == []
