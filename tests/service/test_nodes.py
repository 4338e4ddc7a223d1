"""Sweeps on a cluster of two machines, with a team's store: these take minutes.

One image a step, so that it is training that takes time and not the way of many records to MLflow.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.service.cluster import Cluster
from tests.service.command import Gradsweep, until
from tests.service.secrets import command_lines, files_with
from tests.service.servers import DATABASE_PASSWORD, MLFLOW_PASSWORD, Team
from tracking.store import VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.postgres, pytest.mark.timeout(900)]

SPEC = """\
name: NAME
base: {init_scale: 1.0, data: "IMAGES", epochs: EPOCHS, batch_size: 1}
seeds: 2
arms:
  plain: {alpha: 1.0}
search:
  space: {alpha: {low: 0.5, high: 8.0, log: true}}
  sampler: {name: random, seed: 0}
  configurations: 5
resources: {cpus: 1, pack: 1}
"""


def spec_of(gradsweep: Gradsweep, images: str, name: str, epochs: int = 5) -> str:
    return gradsweep.spec(SPEC.replace("NAME", name).replace("IMAGES", images).replace("EPOCHS", str(epochs)))


@pytest.fixture(scope="module")
def pair(start_cluster: Callable[..., Cluster], team: Team) -> Iterator[Cluster]:
    """Two machines with a CPU each; the first, on which drivers run, knows the team's passwords."""
    found = start_cluster(team.environment, cpus=1)
    try:
        found.join(cpus=1)
        yield found
    finally:
        found.close()


@pytest.fixture
def gradsweep(team: Team, tmp_path: Path) -> Gradsweep:
    """A user who has the store file, and the passwords to read what is there."""
    return Gradsweep(tmp_path, team.environment | {VARIABLE: team.store(tmp_path)})


def through(gradsweep: Gradsweep, name: str, cluster: Cluster) -> dict[str, Any]:
    """Wait until a sweep has ended, and say how it stands."""
    gradsweep("logs", name, "-f", "--to", cluster.address)
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(gradsweep.json("status", name, "--to", cluster.address))
        return found["state"] in ("finished", "failed", "stopped")

    until(ended)
    return found


def workers(cluster: Cluster) -> list[dict[str, Any]]:
    """The actors that have trained packs."""
    answer = cluster.get("/api/v0/actors?detail=1&limit=1000")
    return [actor for actor in answer["data"]["result"]["result"] if "ImplicitFunc" in actor["class_name"]]


def table(gradsweep: Gradsweep, name: str, *words: str) -> pd.DataFrame:
    gradsweep("export", name, f"{name}.parquet", *words)
    return pd.read_parquet(gradsweep.folder / f"{name}.parquet").drop(columns=["seconds", "sweep"])


class Watch:
    """What `ps` shows, and the environment of workers, while something goes on."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.environments: list[dict[str, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            self.seen.update(command_lines().splitlines())
            for file in Path("/proc").glob("[0-9]*/environ"):
                try:
                    if (file.parent / "cmdline").read_bytes().startswith(b"ray::ImplicitFunc"):
                        pairs = (entry.partition("=") for entry in file.read_text().split("\0"))
                        self.environments.append({name: value for name, _, value in pairs})
                except OSError:
                    continue


def test_packs_on_both_machines_and_no_password_anywhere(
    pair: Cluster, team: Team, gradsweep: Gradsweep, images: str
) -> None:
    with Watch() as watch:
        gradsweep("submit", spec_of(gradsweep, images, "both", epochs=20), "--to", pair.address)
        status = through(gradsweep, "both", pair)
    assert (status["state"], status["complete"], status["undelivered"]) == ("finished", 6, 0)
    assert len({actor["node_id"] for actor in workers(pair)}) == 2
    secret = (DATABASE_PASSWORD, MLFLOW_PASSWORD)
    for word in secret:
        assert not any(word in line for line in watch.seen)
        assert word not in str(pair.get("/api/jobs/"))
        for folder in (gradsweep.folder, pair.folder, team.folder / "artifacts", team.postgres.data / "base"):
            assert files_with(word, folder) == []
    # What is looked for is found.
    assert files_with("both", pair.folder) and any("ray::ImplicitFunc" in line for line in watch.seen)
    mine = [e for e in watch.environments if e.get("RAY_CHDIR_TO_TRIAL_DIR") == "0"]
    assert mine
    for name in team.environment:
        assert {e.get(name, "") for e in mine} == {""}, "a worker holds no credentials"


def test_a_lost_machine_costs_nothing_but_time(
    start_cluster: Callable[..., Cluster], team: Team, gradsweep: Gradsweep, images: str
) -> None:
    spec = spec_of(gradsweep, images, "spot", epochs=60)
    alone = ("--store", str(gradsweep.folder / "alone"))
    gradsweep("run", spec, "--name", "undisturbed", "--executor", "in-process", *alone)
    cluster = start_cluster(team.environment, cpus=0)
    try:
        spare = cluster.join(cpus=2)
        gradsweep("submit", spec, "--to", cluster.address)
        # Nobody else can have trained what is there.
        until(lambda: any((gradsweep.folder / "shared" / "checkpoints" / "spot").glob("*.npz.*")))
        cluster.kill(spare)
        cluster.join(cpus=2)
        status = through(gradsweep, "spot", cluster)
        assert (status["state"], status["complete"], status["failed"]) == ("finished", 6, 0)
    finally:
        cluster.close()
    pd.testing.assert_frame_equal(table(gradsweep, "spot"), table(gradsweep, "undisturbed", *alone), check_exact=True)


def test_sqlite_is_refused(pair: Cluster, gradsweep: Gradsweep, images: str) -> None:
    store = gradsweep.folder / "plain"
    spec = spec_of(gradsweep, images, "sqlite")
    said = gradsweep.refused("submit", spec, "--to", pair.address, "--store", str(store))
    assert "ledger and mlflow: SQLite is for one machine" in said and "PostgreSQL" in said
    assert gradsweep.json("list", "--store", str(store)) == []


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs to mount something")
def test_a_folder_that_is_not_shared_is_refused(
    start_cluster: Callable[..., Cluster], team: Team, gradsweep: Gradsweep, images: str
) -> None:
    cluster = start_cluster(team.environment, cpus=1)
    try:
        shared = gradsweep.folder / "shared"
        shared.mkdir()
        cluster.join(["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(shared)], cpus=1)
        said = gradsweep.refused("submit", spec_of(gradsweep, images, "blind"), "--to", cluster.address)
        assert f"can't use {shared}/checkpoints, where the states of members should be: it sees another one" in said
        assert "blind" not in [s["name"] for s in gradsweep.json("list")]
    finally:
        cluster.close()


def test_four_submissions_at_once_and_one_of_four_of_the_same_name(
    pair: Cluster, gradsweep: Gradsweep, images: str
) -> None:
    to = ["--to", pair.address]
    names = [f"quad-{i}" for i in range(4)]
    submitting = [gradsweep.start("submit", spec_of(gradsweep, images, name), *to) for name in names]
    said = [process.communicate() for process in submitting]
    assert [process.returncode for process in submitting] == [0] * 4, said
    assert [through(gradsweep, name, pair)["complete"] for name in names] == [6] * 4
    assert set(names) <= {s["name"] for s in gradsweep.json("list", *to) if s["state"] == "finished"}

    spec = spec_of(gradsweep, images, "same")
    submitting = [gradsweep.start("submit", spec, *to) for _ in range(4)]
    said = [process.communicate() for process in submitting]
    assert sorted(process.returncode for process in submitting) == [0, 2, 2, 2], said
    assert through(gradsweep, "same", pair)["complete"] == 6


def test_a_full_cluster_is_waited_for_and_says_so(pair: Cluster, gradsweep: Gradsweep, images: str) -> None:
    to = ["--to", pair.address]
    gradsweep("submit", spec_of(gradsweep, images, "long", epochs=100_000), *to)
    until(lambda: gradsweep.json("status", "long", *to)["running"] == 2)
    gradsweep("submit", spec_of(gradsweep, images, "patient"), *to)
    until(lambda: "the cluster has no room for a pack: waiting" in gradsweep("logs", "patient", *to).stdout)
    assert gradsweep.json("status", "patient", *to)["state"] == "running"
    gradsweep("stop", "long", *to)
    assert through(gradsweep, "patient", pair)["complete"] == 6


def test_a_token(start_cluster: Callable[..., Cluster], team: Team, gradsweep: Gradsweep, images: str) -> None:
    token = "f00d" * 16
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    cluster = start_cluster(team.environment | settings, cpus=1)
    try:
        to = ["--to", cluster.address]
        spec = spec_of(gradsweep, images, "secured", epochs=2)
        said = gradsweep.refused("submit", spec, *to, HOME=str(gradsweep.folder))
        assert said.startswith(f"the cluster at {cluster.address} wants a token: set RAY_AUTH_MODE=token")
        wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
        assert "is another cluster's" in gradsweep.refused("submit", spec, *to, **wrong)
        file = gradsweep.folder / "token"
        file.write_text(token)
        gradsweep.environment |= {"RAY_AUTH_TOKEN_PATH": str(file)}
        gradsweep("submit", spec, *to)
        assert through(gradsweep, "secured", cluster)["complete"] == 6
        assert files_with(token, cluster.folder) == []
    finally:
        cluster.close()


def test_a_quarter_of_a_gpu_a_pack(start_cluster: Callable[..., Cluster], gradsweep: Gradsweep, images: str) -> None:
    """Ray is told of a GPU that isn't there: what is shown is how packs share it, and that a failure says why."""
    cluster = start_cluster(cpus=4, gpus=1)
    try:
        store = ["--store", str(gradsweep.folder / "plain")]
        spec = spec_of(gradsweep, images, "quarter")
        gradsweep("submit", spec, "--to", cluster.address, *store, "--set", "resources.gpus=0.25")
        until(lambda: gradsweep.json("status", "quarter", "--to", cluster.address)["state"] == "failed")
        asked = [actor["required_resources"] for actor in workers(cluster)]
        # Of a placement group: GPU_group_..., and not GPU.
        assert {n for one in asked for name, n in one.items() if name.startswith("GPU")} == {0.25}
        status = gradsweep.json("status", "quarter", *store)
        assert status["failed"] == 6 and all("NVIDIA" in reason for reason in status["failures"])
    finally:
        cluster.close()
