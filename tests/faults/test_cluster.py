"""A Ray cluster whose nodes are killed, the head among them, with a PostgreSQL and an MLflow server, as it has them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from tests.faults.harness import CONFIGURATIONS, PATIENCE, RECORDS, Harness, moments
from tests.service.cluster import Cluster
from tests.tracking.conftest import Server

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.postgres, pytest.mark.timeout(3600)]
OF = f"of {RECORDS} records, {CONFIGURATIONS} configurations"
# A node that is lost is noticed in 3 s, not in 12.
NOTICED = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@pytest.fixture
def sweep(
    make_sweep: Callable[..., Harness], undisturbed: pd.DataFrame, postgres: Any, tmp_path: Path
) -> Iterator[Harness]:
    """A sweep whose store is a team's."""
    server = Server(tmp_path)
    server.start()
    made = make_sweep(undisturbed)
    made.use_store(ledger=postgres.url("ledger"), mlflow=server.uri)
    yield made
    server.stop()


Node = subprocess.Popen[bytes]


def started(folder: Path, name: str, nodes: int = 2) -> tuple[Cluster, list[Node]]:
    """A cluster whose head trains nothing, and its nodes of one CPU each."""
    logs = folder / name
    logs.mkdir()
    cluster = Cluster(Path(sys.executable).parent, logs, NOTICED, cpus=0)
    return cluster, [cluster.join(cpus=1) for _ in range(nodes)]


def training(nodes: list[Node]) -> list[Node]:
    """Those that have a pack."""
    return [node for node in nodes if has_pack(node)]


def has_pack(node: Node) -> bool:
    """Whether a pack is on this node."""
    for process in psutil.Process(node.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name().startswith("ray::Implicit"):
                return True
    return False


def test_nodes_are_killed(sweep: Harness, noted: Any, tmp_path: Path) -> None:
    with noted("faults", "SIGKILL of the Ray node that runs trials", seed := 41) as note:
        cluster, nodes = started(tmp_path, "cluster", 3)
        with closing(cluster):
            sweep.set(RAY_ADDRESS=f"127.0.0.1:{cluster.gcs}")
            process, at = sweep.start("run", sweep.spec_file()), []
            for moment in moments(seed, 2):
                at.append(sweep.reach(moment, process))
                lost = random.Random(moment).choice(sweep.wait(partial(training, nodes), process))
                # The others may be through with all packs by the time that the cluster has noticed.
                cluster.kill(lost, noticed=False)
                nodes.remove(lost)
            sweep.finish(process)
            note.tried = f"two of three nodes, one after the other, at {' and '.join(map(str, at))} {OF}"
            note.outcome = str(sweep.must_be_sound())


def test_the_head_is_killed(sweep: Harness, noted: Any, tmp_path: Path) -> None:
    with noted("faults", "SIGKILL of the Ray head, then a new cluster and a resume", seed := 42) as note:
        (moment,) = moments(seed, 1)
        cluster, _ = started(tmp_path, "first")
        with closing(cluster):
            sweep.set(RAY_ADDRESS=f"127.0.0.1:{cluster.gcs}")
            process = sweep.start("run", sweep.spec_file())
            at = sweep.reach(moment, process)
            cluster.kill(cluster.head)
            _, err = process.communicate(timeout=PATIENCE)
            assert process.returncode not in (0, 2), err
        cluster, _ = started(tmp_path, "second")
        with closing(cluster):
            sweep.set(RAY_ADDRESS=f"127.0.0.1:{cluster.gcs}")
            sweep("run", sweep.spec_file(), "--resume")
            note.tried = f"with all of its processes, at {at} {OF}; the driver ended by itself"
            note.outcome = str(sweep.must_be_sound())
