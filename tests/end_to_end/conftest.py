"""The command as its users start it: a process of its own, its store, and waiting for what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweeps.driver.orphans import VARIABLE
from tests.load.sweep import write_images
from tracking.ledger import Ledger, opened
from tracking.store import Store
from tracking.types import Sweep
from trainers.errors import GradsweepError

PATIENCE = 120.0


class Command:
    """`gradsweep` on one store.

    >>> command("run", "spec.yaml").stdout
    """

    def __init__(self, folder: Path, cache: Path, store: Store | None = None) -> None:
        self.store = store or Store.at(folder / "store")
        self.folder = folder
        self._mark = f"GRADSWEEP_STORE={self.store.where}".encode()
        self._environment = os.environ | {
            "GRADSWEEP_STORE": str(self.store.where),
            "GRADSWEEP_CACHE": str(cache),
            "PYTHONUNBUFFERED": "1",
        }

    def start(
        self, *words: str, program: tuple[str, str] = ("-m", "sweeps.cli"), **environment: str
    ) -> subprocess.Popen[str]:
        """Start it, in a process group of its own as a shell would."""
        return subprocess.Popen(
            [sys.executable, *program, *words],
            cwd=self.folder,
            env=self._environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run it to its end, which must have this exit status."""
        process = self.start(*words)
        out, err = process.communicate(timeout=4 * PATIENCE)
        assert process.returncode == status, f"{words}: {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def json(self, *words: str, status: int = 0) -> Any:
        """What it prints with `--json`: one document and nothing else."""
        return json.loads(self(*words, "--json", status=status).stdout)

    def spec(self, name: str, text: str) -> str:
        """A file with this spec."""
        file = self.folder / f"{name}.yaml"
        file.write_text(text)
        return str(file)

    def epochs(self, sweep: str) -> int:
        """How many epochs of configurations the ledger has; 0 where there is none yet."""
        try:
            with self.ledger(sweep) as (ledger, row):
                return sum(c.epoch + 1 for c in ledger.configurations(row))
        except GradsweepError:  # not there yet, or its server is away
            return 0

    @contextmanager
    def ledger(self, sweep: str) -> Iterator[tuple[Ledger, Sweep]]:
        """The ledger, and the sweep in it. Raises GradsweepError where there is none."""
        with opened(sweep, self.store) as found:
            yield found

    def table(self, sweep: str) -> pd.DataFrame:
        """What `export` writes, without the time it took."""
        file = self.folder / f"{sweep}-{time.monotonic_ns()}.parquet"
        self("export", sweep, str(file))
        return pd.read_parquet(file).drop(columns="seconds")

    def until(self, what: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
        """Wait for something that a process does."""
        end = time.monotonic() + PATIENCE
        while not what():
            assert time.monotonic() < end, "it did not come"
            assert process is None or process.poll() is None, process.communicate()
            time.sleep(0.1)

    def processes(self) -> dict[int, str]:
        """The processes that this store's commands have started and that are still there: number -> command line.

        Ray's agents write their title over a part of their environment, so there are two marks.
        """
        sweep = f"{VARIABLE}={self.store.folder}/".encode()
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes().split(b"\0")
                if any(v == self._mark or v.startswith(sweep) for v in variables):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        return {number: line for number, line in found.items() if line}


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("images")
    write_images(root)
    return f"folder:{root}"


@pytest.fixture(scope="session")
def make_command(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Command]:
    """`gradsweep` on a new store each."""
    cache = tmp_path_factory.mktemp("cache")
    return lambda: Command(tmp_path_factory.mktemp("sweep"), cache)


@pytest.fixture
def command(make_command: Callable[[], Command]) -> Command:
    return make_command()
