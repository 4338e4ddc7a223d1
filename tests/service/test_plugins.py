"""A package that is not installed on a Ray cluster, and is used by a sweep there: it travels to the workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sweeps.targets.target import target_at
from tests.packages import install
from tests.service.cluster import Cluster
from tests.service.command import Gradsweep, until
from tracking.results import load, sweeps
from tracking.store import Store

ROOT = Path(__file__).parents[2]
SPEC = """\
name: travelling
base: {init_scale: 1.0, data: dark, activation: swish2, normalization: halves, epochs: 1, batch_size: 8}
seeds: 1
arms: {plain: {}}
resources: {cpus: 1, pack: 1}
"""


@pytest.mark.ray
@pytest.mark.timeout(1800)  # an idle machine needs half a minute
def test_submitted(cluster: Cluster, gradsweep: Gradsweep, tmp_path: Path) -> None:
    store, packages = Store.at(tmp_path / "store"), install(tmp_path / "packages")
    to = ["--to", cluster.address, "--store", str(store.folder)]
    gradsweep("submit", gradsweep.spec(SPEC), *to, PYTHONPATH=str(packages))
    target = target_at(cluster.address)
    until(lambda: target.status("travelling").state in ("finished", "failed"))
    assert target.status("travelling").state == "finished", list(target.logs("travelling", follow=False))
    holds_what_was_added(store)


@pytest.mark.ray
@pytest.mark.timeout(1800)
def test_run_by_a_driver_here(start_cluster: Callable[..., Cluster], gradsweep: Gradsweep, tmp_path: Path) -> None:
    """The cluster's machine has an older version, in whose place comes what is here."""
    old = install(tmp_path / "old", "", version="0.0")
    packages = install(tmp_path / "packages")
    with closing(start_cluster({"PYTHONPATH": f"{ROOT}:{old}"}, cpus=1)) as cluster:
        gradsweep("run", gradsweep.spec(SPEC), RAY_ADDRESS=f"127.0.0.1:{cluster.gcs}", PYTHONPATH=str(packages))
    holds_what_was_added(Store.at(gradsweep.folder / "gradsweep-store"))


def holds_what_was_added(store: Store) -> None:
    frame = load("travelling", store)
    assert frame["engine"].tolist() == ["reference"] * 2 and (frame["first.norm"] > 0).all()
    (sweep,) = sweeps(store)
    assert "gradsweep-all==0.1" in sweep.digests
