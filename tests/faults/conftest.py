"""A sweep to do something to, and what it is when nothing is done."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from sweeps.bench_sweep import write_images
from tests.faults.harness import Harness


@pytest.fixture(scope="session")
def make_sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Harness]]:
    """A sweep on a new store each; `undisturbed` is the table that it must come to."""
    root = tmp_path_factory.mktemp("images")
    write_images(root)
    cache = tmp_path_factory.mktemp("cache")
    scratches = []

    def make(undisturbed: pd.DataFrame | None = None, folder: Path | None = None) -> Harness:
        # Not below pytest's own folder: Ray's sockets have short names or none.
        scratches.append(Path(tempfile.mkdtemp(prefix="gf-")))
        folder = folder or tmp_path_factory.mktemp("sweep")
        return Harness(folder, cache, scratches[-1], f"folder:{root}", undisturbed)

    yield make
    for scratch in scratches:
        shutil.rmtree(scratch)


@pytest.fixture(scope="session")
def undisturbed(make_sweep: Callable[..., Harness]) -> pd.DataFrame:
    """The table of a sweep to which nothing is done."""
    sweep = make_sweep()
    sweep("run", sweep.spec_file(), "--executor", "in-process")
    sweep.must_be_sound()
    return sweep.table_now()


@pytest.fixture
def sweep(make_sweep: Callable[..., Harness], undisturbed: pd.DataFrame) -> Harness:
    return make_sweep(undisturbed)
