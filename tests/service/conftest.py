"""A Ray cluster, PostgreSQL and an MLflow server for the tests of the service, all real and on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeps.mlflow_server import KEY, PASSWORD, USERNAME
from tests.load.sweep import write_images
from tests.service.cluster import Cluster, plain_python
from tests.service.command import Gradsweep
from tests.service.servers import DATABASE_PASSWORD, MLFLOW_PASSWORD, Postgres, Team, mlflow_server


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("images")
    write_images(root)
    return f"folder:{root}"


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Python without gradsweep."""
    return plain_python(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="session")
def start_cluster(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Cluster]:
    """Starts a head; who asks for it ends it."""
    return lambda environment=None, **resources: Cluster(
        python, tmp_path_factory.mktemp("cluster"), environment, **resources
    )


@pytest.fixture(scope="session")
def cluster(start_cluster: Callable[..., Cluster]) -> Iterator[Cluster]:
    """A cluster of one machine with two CPUs and no GPU."""
    found = start_cluster(cpus=2)
    yield found
    found.close()


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """A team's servers, with passwords."""
    folder = tmp_path_factory.mktemp("team")
    postgres = Postgres(DATABASE_PASSWORD)
    try:
        url, database = postgres.create("ledger"), postgres.create("mlflow")
        login = {USERNAME: "sweeper", PASSWORD: MLFLOW_PASSWORD, KEY: "signing-55aa12"}
        with mlflow_server(folder, database, login) as address:
            environment = {
                "LEDGER_URL": url,
                "MLFLOW_TRACKING_USERNAME": "sweeper",
                "MLFLOW_TRACKING_PASSWORD": MLFLOW_PASSWORD,
            }
            yield Team(folder, postgres, address, environment)
    finally:
        postgres.stop()


@pytest.fixture
def gradsweep(tmp_path: Path) -> Gradsweep:
    return Gradsweep(tmp_path)
